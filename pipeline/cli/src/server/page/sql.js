// The box of SQL, for browsers that run scripts: Ctrl+Enter runs, the server completes names as the shell does, queries that were run
// are kept by this browser. Text only ever becomes text.
"use strict";
(() => {
  const form = document.getElementById("ask");
  const box = form.elements.q;
  const list = document.getElementById("words");
  const status = document.getElementById("word-status");
  const KEPT = 50;
  const LONGEST = 20000;

  // Running.
  const busy = document.getElementById("busy");
  const elapsed = document.getElementById("elapsed");
  let timer = null;
  const rest = () => {
    clearInterval(timer);
    busy.hidden = true;
  };
  form.addEventListener("submit", () => {
    remember(box.value);
    const since = performance.now();
    const tick = () => { elapsed.textContent = ((performance.now() - since) / 1000).toFixed(1) + " s"; };
    tick();
    clearInterval(timer);
    timer = setInterval(tick, 100);
    busy.hidden = false;
  });
  document.getElementById("stop").addEventListener("click", () => { window.stop(); rest(); });
  window.addEventListener("pageshow", rest);

  // Wherever the cursor is: Escape takes it out of the box.
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("button.primary"));
  });

  // Completion.
  let replaces = 0;
  let active = -1;
  let asked = 0;
  const isOpen = () => !list.hidden;
  const close = () => {
    list.hidden = true;
    list.replaceChildren();
    active = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };
  const choose = (i) => {
    const items = list.children;
    if (active >= 0) items[active].setAttribute("aria-selected", "false");
    active = (i + items.length) % items.length;
    items[active].setAttribute("aria-selected", "true");
    items[active].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", items[active].id);
  };
  const take = (i) => {
    const word = list.children[i].textContent;
    const at = box.selectionStart;
    box.focus();
    box.setSelectionRange(at - replaces, at);
    // Unlike setRangeText this can be undone.
    if (!document.execCommand("insertText", false, word)) box.setRangeText(word, at - replaces, at, "end");
    close();
  };
  // Below the line of the cursor, where its word begins.
  const place = (line) => {
    const style = getComputedStyle(box);
    const ink = document.createElement("canvas").getContext("2d");
    ink.font = style.font;
    const before = line.slice(line.lastIndexOf("\n") + 1, line.length - replaces);
    const left = ink.measureText(before).width + parseFloat(style.paddingLeft) - box.scrollLeft;
    const n = line.split("\n").length;
    const top = n * parseFloat(style.lineHeight) + parseFloat(style.paddingTop) - box.scrollTop;
    list.style.left = Math.max(0, Math.min(left, box.clientWidth - 220)) + "px";
    list.style.top = Math.min(top, box.clientHeight) + 4 + "px";
  };
  const complete = async (isWanted) => {
    const at = box.selectionStart;
    const line = box.value.slice(Math.max(0, at - 1000), at);
    const me = ++asked;
    const answer = await fetch("/sql/complete?line=" + encodeURIComponent(line)).catch(() => null);
    if (!answer || !answer.ok || me !== asked || box.selectionStart !== at) return;
    const found = await answer.json();
    const typed = line.slice(line.length - found.replaces);
    const words = found.words.filter((word) => word !== typed).slice(0, 50);
    if (words.length === 0 || !(isWanted || typed.length > 1 || /\.$/.test(line))) return close();
    replaces = found.replaces;
    active = -1;
    list.replaceChildren(...words.map((word, i) => {
      const item = document.createElement("li");
      item.id = "word-" + i;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      item.textContent = word;
      item.addEventListener("mousedown", (event) => { event.preventDefault(); take(i); });
      return item;
    }));
    list.hidden = false;
    place(line);
    box.setAttribute("aria-expanded", "true");
    status.textContent = words.length === 1 ? status.dataset.one : words.length + " " + status.dataset.many;
  };
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", "words");
  box.setAttribute("aria-expanded", "false");
  let soon = null;
  box.addEventListener("input", (event) => {
    clearTimeout(soon);
    if (event.inputType && event.inputType.startsWith("delete")) return close();
    soon = setTimeout(complete, 80, false);
  });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.ctrlKey && event.key === " ") {
      event.preventDefault();
      return complete(true);
    }
    if (!isOpen()) return;
    const keys = {
      ArrowDown: () => choose(active + 1),
      ArrowUp: () => choose(active < 0 ? list.children.length - 1 : active - 1),
      Escape: close,
      Tab: () => take(Math.max(active, 0)),
    };
    if (event.key === "Enter" && active >= 0) keys.Enter = () => take(active);
    if (keys[event.key]) {
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    } else if (["Enter", "ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      close();
    }
  });

  // Queries that were run, the newest first.
  const past = () => {
    try {
      const kept = JSON.parse(localStorage.getItem("tuwen.sql"));
      return Array.isArray(kept) ? kept.filter((query) => typeof query === "string") : [];
    } catch {
      return [];
    }
  };
  const keep = (queries) => {
    // A browser may be told to keep nothing.
    try { localStorage.setItem("tuwen.sql", JSON.stringify(queries)); } catch { /* nothing is kept */ }
  };
  const remember = (query) => {
    if (!query.trim() || query.length > LONGEST) return;
    keep([query, ...past().filter((other) => other !== query)].slice(0, KEPT));
  };
  const shelf = document.getElementById("history");
  const show = () => {
    const queries = past();
    shelf.hidden = queries.length === 0;
    document.getElementById("past").replaceChildren(...queries.map((query) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = query;
      button.addEventListener("click", () => { box.value = query; box.focus(); });
      item.append(button);
      return item;
    }));
  };
  document.getElementById("forget").addEventListener("click", () => { keep([]); show(); box.focus(); });
  // What ran is in the box, also where a link brought it.
  if (document.querySelector(".rows")) remember(box.value);
  show();

  // The cursor stands where the error is.
  const wrong = document.querySelector(".wrong pre");
  if (wrong) {
    const lines = box.value.split("\n");
    const before = lines.slice(0, wrong.dataset.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
    const column = [...(lines[wrong.dataset.line - 1] || "")].slice(0, wrong.dataset.column).join("").length;
    box.focus();
    box.setSelectionRange(before + column, before + column);
  } else if (!box.value) {
    box.focus();
  }
})();
