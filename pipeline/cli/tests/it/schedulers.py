"""The examples for schedulers on a page of the docs: usage `schedulers.py PAGE`. Parses each as its scheduler would, and prints the
commands of tuwen in them, a line each; exit code 1 and a reason if one is wrong.
"""
import ast
import configparser
import pathlib
import re
import sys
import types

import yaml

text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
blocks = {}
for language, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S):
    blocks.setdefault(language, []).append(body)
commands = []


def is_schedule(fields):
    return len(fields) == 5 and all(re.fullmatch(r"\*|\d+(,\d+)*|\*/\d+", field) for field in fields)


def add(shell):
    commands.extend(part[part.index("tuwen "):].split(" >")[0] for part in shell.split(" && ") if "tuwen " in part)


# cron: five fields and a command.
cron, = [body for body in blocks["text"] if body.startswith("# m h")]
for line in filter(lambda line: not line.startswith("#"), cron.splitlines()):
    fields = line.split(maxsplit=5)
    assert is_schedule(fields[:5]), line
    add(fields[5])

# systemd: a service that ends, and a timer.
units, = [body for body in blocks["text"] if body.startswith("# /etc/systemd/system/")]
units = dict(re.findall(r"^# /etc/systemd/system/(\S+)\n(.*?)(?=^# /etc|\Z)", units, re.M | re.S))
for body in units.values():
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str
    unit.read_string(body)
    assert unit["Unit"]["Description"]
    if "Service" in unit:
        assert unit["Service"]["Type"] == "oneshot" and unit["Service"]["ExecStart"].startswith("/"), body
        add(unit["Service"]["ExecStart"])
    else:
        assert unit["Timer"]["OnCalendar"] and unit["Install"]["WantedBy"] == "timers.target", body
assert len(units) == 2, units.keys()

# Airflow: the file is run, with operators that only keep what they are given.
tasks = []


class Operator:
    def __init__(self, **options):
        tasks.append(options)

    def __rshift__(self, other):
        return other


class Dag:
    def __init__(self, name, **options):
        assert is_schedule(options["schedule"].split()), options

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


airflow, operators, bash = (types.ModuleType(name) for name in ("airflow", "airflow.operators", "airflow.operators.bash"))
airflow.DAG, bash.BashOperator = Dag, Operator
sys.modules.update({"airflow": airflow, "airflow.operators": operators, "airflow.operators.bash": bash})
dag, = [body for body in blocks["python"] if "airflow" in body]
exec(compile(ast.parse(dag), "dag.py", "exec"), {})
assert len({task["task_id"] for task in tasks}) == len(tasks) == 3, tasks
for task in tasks:
    add(task["bash_command"].replace("{{ ds }}", "2026-01-01"))

# Kubernetes: a CronJob whose pods are tried again only where that helps.
job, = [yaml.safe_load(body) for body in blocks["yaml"]]
assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob"), job
assert is_schedule(job["spec"]["schedule"].split())
spec = job["spec"]["jobTemplate"]["spec"]
assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3]
pod = spec["template"]["spec"]
assert pod["restartPolicy"] == "Never"
mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
assert mounted == {volume["name"] for volume in pod["volumes"]}, mounted
commands.extend(" ".join(container["command"] + container["args"]) for container in pod["containers"])

print("\n".join(commands))
