// What pages do on top of what they do without a script: the next pictures come before they are asked for, keys move and open, texts are
// copied. Nothing is loaded but pages of this server, and what comes is put in as parsed elements, never as text of HTML.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tiles = () => all("[data-tile]");

  // The next page of the gallery.
  let busy = null;
  function more() {
    const place = one("#more"), link = place && one("a[rel=next]", place);
    if (!link || busy) return busy;
    place.classList.add("busy");
    busy = (async () => {
      try {
        const answer = await fetch(link.href + "&part=1", { headers: { accept: "text/html" } });
        const part = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!answer.ok) throw new Error(part.body.textContent.trim());
        const fresh = all("#tiles > li", part);
        one("#tiles").append(...fresh.map((tile) => document.importNode(tile, true)));
        place.replaceChildren(...[...one("#more", part).childNodes].map((node) => document.importNode(node, true)));
        const told = one("#told");
        told.textContent = `${fresh.length} ${told.dataset.more} ${tiles().length}`;
      } catch (error) {
        // The link stays, and does what it does without a script.
        const said = document.createElement("span");
        said.className = "error";
        said.textContent = String(error.message || error);
        place.append(" ", said);
        watch.disconnect();
      } finally {
        place.classList.remove("busy");
        busy = null;
      }
      // Still in sight: there is room for more.
      if (one("#more a[rel=next]")) { watch.unobserve(place); watch.observe(place); }
    })();
    return busy;
  }
  const watch = new IntersectionObserver((seen) => { if (seen.some((s) => s.isIntersecting)) more(); }, { rootMargin: "1200px 0px" });
  if (one("#more a[rel=next]")) watch.observe(one("#more"));

  // A picture that does not come shows its caption in its place.
  addEventListener("error", (event) => { if (event.target instanceof HTMLImageElement) event.target.classList.add("lost"); }, true);

  // Keys.
  const keys = one("#keys");
  const typing = (at) => at.closest && at.closest("input, textarea, select, [contenteditable]");
  async function move(step) {
    let list = tiles();
    const here = list.indexOf(document.activeElement);
    let next = here < 0 ? firstInSight(list) : here + step;
    if (next >= list.length) { await more(); list = tiles(); }
    next = Math.max(0, Math.min(next, list.length - 1));
    if (list[next]) { list[next].focus(); list[next].closest("li").scrollIntoView({ block: "nearest" }); }
  }
  function firstInSight(list) {
    const at = list.findIndex((tile) => tile.getBoundingClientRect().bottom > 80);
    return at < 0 ? 0 : at;
  }
  // Tiles of a row begin at one height.
  function columns() {
    const tops = tiles().map((tile) => tile.getBoundingClientRect().top);
    const n = tops.findIndex((top) => Math.abs(top - tops[0]) > 4);
    return n < 0 ? tops.length || 1 : n;
  }
  function go(key) {
    const link = one(`a[data-key="${key}"]`);
    if (link) link.click();
    return Boolean(link);
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { key, target } = event;
    if (keys && keys.open) { if (key === "?") keys.close(); return; }
    if (typing(target)) { if (key === "Escape") target.blur(); return; }
    const gallery = tiles().length > 0 && one("#tiles");
    const onTile = target.matches && target.matches("[data-tile]");
    const act = {
      "?": () => keys && keys.showModal(),
      "/": () => { const box = one("#q"); if (!box) return false; box.focus(); box.select(); },
      j: () => (gallery ? move(1) : go("j")),
      k: () => (gallery ? move(-1) : go("k")),
      ArrowRight: () => (onTile ? move(1) : go("j")),
      ArrowLeft: () => (onTile ? move(-1) : go("k")),
      ArrowDown: () => (onTile ? move(columns()) : false),
      ArrowUp: () => (onTile ? move(-columns()) : false),
      Home: () => (onTile ? move(-Infinity) : false),
      End: () => (onTile ? move(tiles().length - 1 - tiles().indexOf(target)) : false),
      u: () => go("u"),
      Escape: () => go("u"),
    }[key];
    if (act && act() !== false) event.preventDefault();
  });
  const help = one("[data-help]");
  if (help && keys) { help.hidden = false; help.addEventListener("click", () => keys.showModal()); }

  // The other language of the page as it is, not of its first state.
  for (const link of all("a[data-lang]")) {
    link.addEventListener("click", () => {
      const here = new URL(location.href);
      here.searchParams.set("lang", link.dataset.lang);
      link.href = here.pathname + here.search;
    });
  }
  // The choice is kept in a cookie, so that it does not stand in what is shared.
  const here = new URL(location.href);
  if (here.searchParams.has("lang")) {
    here.searchParams.delete("lang");
    history.replaceState(null, "", here);
  }

  // Copying.
  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const name = button.textContent;
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.copied;
      setTimeout(() => { button.textContent = name; }, 1500);
    });
  }
})();
