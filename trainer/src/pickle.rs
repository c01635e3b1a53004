//! Reads `pytorch_model.bin`: the zip that `torch.save` writes since PyTorch 1.6, with a pickle of a state dict in it.
//! In: a file. Out: named tensors. Never runs code: of the pickle machine (protocol 2, Python's `pickletools.py`) it knows
//! what a state dict needs and nothing else. libtorch's own reader refuses dicts that carry `_metadata`, as most do.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};
use zip::ZipArchive;

/// What the pickle machine's stack holds.
#[derive(Clone, Debug)]
enum Value {
    Mark,
    Int(i64),
    Text(String),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A name out of a Python module, with a dot between.
    Global(String),
    Storage {
        kind: Kind,
        key: String,
    },
    Tensor {
        kind: Kind,
        key: String,
        offset: i64,
        size: Vec<i64>,
        stride: Vec<i64>,
    },
    /// Anything no tensor depends on.
    Other,
}

/// Calls `each` with every tensor of the state dict.
pub(crate) fn for_each_tensor(path: &Path, mut each: impl FnMut(&str, &Tensor)) -> Result<()> {
    let file = File::open(path)?;
    let whole_bytes = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file))
        .context("expected what torch.save writes since PyTorch 1.6")?;
    let pickle = archive.file_names().find(|name| name.ends_with("/data.pkl"));
    let pickle = pickle.context("expected a data.pkl in it, found none")?.to_owned();
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let Value::Dict(items) = run(&read(&mut archive, &pickle, whole_bytes)?)? else {
        bail!("expected a dict of tensors");
    };
    for (name, value) in items {
        let (Value::Text(name), Value::Tensor { kind, key, offset, size, stride }) = (name, value)
        else {
            bail!("expected a dict of tensors by name");
        };
        let bytes = read(&mut archive, &format!("{folder}data/{key}"), whole_bytes)?;
        let numel = (bytes.len() / kind.elt_size_in_bytes()) as i64;
        let storage = Tensor::f_from_data_size(&bytes, &[numel], kind)?;
        each(&name, &storage.f_as_strided(&size, &stride, offset).with_context(|| name.clone())?);
    }
    Ok(())
}

/// The bytes of an entry of an archive of `whole_bytes`, which torch.save does not compress: what an entry says of its size is
/// believed up to that.
fn read(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &str,
    whole_bytes: u64,
) -> Result<Vec<u8>> {
    let mut file = archive.by_name(name).with_context(|| name.to_owned())?;
    let mut bytes = Vec::with_capacity(file.size().min(whole_bytes) as usize);
    file.read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    Ok(bytes)
}

/// Runs a pickle to its end and gives what it made.
fn run(pickle: &[u8]) -> Result<Value> {
    let mut machine = Machine { rest: pickle, stack: Vec::new(), memo: HashMap::new() };
    while let Some(opcode) = machine.bytes(1)?.first().copied().filter(|&opcode| opcode != b'.') {
        machine.step(opcode)?;
    }
    machine.pop()
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            0x80 => return self.bytes(1).map(drop), // PROTO
            b'q' => return self.put(1),
            b'r' => return self.put(4),
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'(' => Value::Mark,
            b'N' | 0x88 | 0x89 => Value::Other, // None, True, False
            b'J' => Value::Int(i64::from(self.number(4)? as i32)),
            b'K' => Value::Int(i64::from(self.number(1)?)),
            b'M' => Value::Int(i64::from(self.number(2)?)),
            0x8a => self.long()?,
            b'X' => {
                let length = self.number(4)? as usize;
                Value::Text(String::from_utf8(self.bytes(length)?.to_vec())?)
            }
            b'c' => Value::Global(format!("{}.{}", self.line()?, self.line()?)),
            b'}' => Value::Dict(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            b't' => Value::Tuple(self.since_mark()?),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                Value::Tuple(self.stack.split_off(at.context("pickle: too few values")?))
            }
            b'Q' => storage(self.pop()?)?,
            b'R' => {
                let arguments = self.pop()?;
                made(self.pop()?, arguments)?
            }
            // An object's attributes, such as a state dict's `_metadata`.
            b'b' => return self.pop().map(drop),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                return self.set_items(vec![key, value]);
            }
            b'u' => {
                let items = self.since_mark()?;
                return self.set_items(items);
            }
            other => bail!("pickle: expected a state dict, found opcode {other:#04x}"),
        };
        self.stack.push(value);
        Ok(())
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).context("pickle: ends too early")?;
        self.rest = rest;
        Ok(head)
    }

    /// An unsigned little-endian number of up to four bytes.
    fn number(&mut self, n: usize) -> Result<u32> {
        Ok(self.bytes(n)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
    }

    /// A signed little-endian number behind its length.
    fn long(&mut self) -> Result<Value> {
        let n = self.number(1)? as usize;
        let bytes = self.bytes(n)?;
        ensure!(n <= 8, "pickle: expected a number of at most 8 bytes, found {n}");
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let start = if negative { -1 } else { 0 };
        Ok(Value::Int(bytes.iter().rev().fold(start, |sum, &byte| sum << 8 | i64::from(byte))))
    }

    fn line(&mut self) -> Result<String> {
        let end =
            self.rest.iter().position(|&byte| byte == b'\n').context("pickle: ends in a name")?;
        let line = String::from_utf8(self.bytes(end)?.to_vec())?;
        self.bytes(1)?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().context("pickle: too few values")
    }

    fn put(&mut self, width: usize) -> Result<()> {
        let index = self.number(width)?;
        let value = self.stack.last().context("pickle: too few values")?.clone();
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<Value> {
        let index = self.number(width)?;
        self.memo.get(&index).cloned().with_context(|| format!("pickle: no value {index}"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let mark = mark.context("pickle: no mark")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<()> {
        let Some(Value::Dict(dict)) = self.stack.last_mut() else {
            bail!("pickle: expected a dict to fill");
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dict.push((key, value));
        }
        Ok(())
    }
}

/// The persistent id of a storage: `('storage', torch.FloatStorage, key, device, elements)`.
fn storage(id: Value) -> Result<Value> {
    let Value::Tuple(parts) = id else { bail!("pickle: expected a storage's id, found {id:?}") };
    let [Value::Text(_), Value::Global(class), Value::Text(key), ..] = parts.as_slice() else {
        bail!("pickle: expected a storage's id, found {parts:?}");
    };
    let kind = match class.as_str() {
        "torch.FloatStorage" => Kind::Float,
        "torch.HalfStorage" => Kind::Half,
        "torch.BFloat16Storage" => Kind::BFloat16,
        "torch.DoubleStorage" => Kind::Double,
        "torch.LongStorage" => Kind::Int64,
        "torch.IntStorage" => Kind::Int,
        "torch.ByteStorage" => Kind::Uint8,
        "torch.BoolStorage" => Kind::Bool,
        other => bail!("pickle: expected a storage of numbers, found {other}"),
    };
    Ok(Value::Storage { kind, key: key.clone() })
}

/// What calling `callable` makes; of all of Python, three functions are known.
fn made(callable: Value, arguments: Value) -> Result<Value> {
    let (Value::Global(name), Value::Tuple(arguments)) = (callable, arguments) else {
        bail!("pickle: expected a call of a function by name");
    };
    match (name.as_str(), arguments.as_slice()) {
        ("collections.OrderedDict", []) => Ok(Value::Dict(Vec::new())),
        (
            "torch._utils._rebuild_tensor_v2",
            [
                Value::Storage { kind, key },
                Value::Int(offset),
                Value::Tuple(size),
                Value::Tuple(stride),
                ..,
            ],
        ) => {
            let (size, stride) = (integers(size)?, integers(stride)?);
            Ok(Value::Tensor { kind: *kind, key: key.clone(), offset: *offset, size, stride })
        }
        ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor { .. }, ..]) => {
            Ok(tensor.clone())
        }
        _ => bail!("pickle: expected a state dict, found a call of {name}"),
    }
}

fn integers(values: &[Value]) -> Result<Vec<i64>> {
    let integer = |value: &Value| match value {
        Value::Int(integer) => Ok(*integer),
        other => bail!("pickle: expected a whole number, found {other:?}"),
    };
    values.iter().map(integer).collect()
}
