"use strict";
(() => {
  const list = document.getElementById("examples");
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const examples = [...list.children].map((element, index) => ({ element, ...facts[index], words: null }));
  const tools = document.getElementById("tools");
  const direction = document.getElementById("direction");
  const lower = new Set(tools.dataset.lower.split(" "));
  let shown = examples;
  let sortedBy = null;

  // images: decoded when they come near the screen

  const load = (figure) => {
    const image = figure.querySelector("img");
    if (image && !image.src) image.src = JSON.parse(figure.querySelector("script").textContent);
  };
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      load(entry.target);
      watcher.unobserve(entry.target);
    }),
    { rootMargin: "800px" },
  );
  list.querySelectorAll("figure").forEach((figure) => watcher.observe(figure));
  addEventListener("beforeprint", () => shown.forEach(({ element }) => element.querySelectorAll("figure").forEach(load)));

  // sorting and filtering

  const differences = (example) => example.verdicts.reduce((sum, number) => sum + number, 0);
  const goodness = (example, key) => {
    if (key === ":order") return example.order;
    if (key === ":differences") return -differences(example);
    const score = example.scores[key] ?? null;
    if (score === null) return -Infinity;
    return lower.has(key) ? -score : score;
  };
  const wordsOf = (example) => {
    example.words ??= [...example.element.querySelectorAll("h3, td, th, .answer, .error, .question")]
      .map((part) => [...part.childNodes].filter((node) => !node.classList?.contains("sign")).map((node) => node.textContent).join(""))
      .join("\n").toLowerCase();
    return example.words;
  };
  const passes = (example, wanted) => {
    for (const [name, value] of wanted) {
      if (!value) continue;
      if (name.startsWith("bucket:") && example.buckets[name.slice(7)] !== value) return false;
      if (name === "ending" && (value === ":failed" ? !example.failed : example.ending !== value)) return false;
      if (name === "verdict") {
        const number = differences(example);
        if (value === ":some" ? !number : value === ":none" ? number : !example.verdicts[value]) return false;
      }
      if (name === "text" && !wordsOf(example).includes(value.trim().toLowerCase())) return false;
    }
    return true;
  };
  const showScore = (example, key) => {
    example.element.querySelectorAll(".score").forEach((chip) => {
      chip.classList.toggle("chosen", chip.firstElementChild.textContent === key);
    });
  };
  const update = () => {
    const wanted = [...new FormData(tools)].filter(([name]) => name !== "sort" && name !== "stacked");
    const key = tools.elements.sort.value;
    const sign = direction.getAttribute("aria-pressed") === "true" ? -1 : 1;
    const rank = new Map(examples.map((example) => [example, goodness(example, key)]));
    const compare = (a, b) => (rank.get(a) === rank.get(b) ? a.order - b.order : sign * (rank.get(a) < rank.get(b) ? -1 : 1));
    examples.sort(compare);
    shown = examples.filter((example) => passes(example, wanted));
    const visible = new Set(shown);
    examples.forEach((example) => { example.element.hidden = !visible.has(example); });
    if (examples.some(({ element }, index) => list.children[index] !== element)) {
      list.replaceChildren(...examples.map((example) => example.element));
    }
    if (key !== sortedBy && !key.startsWith(":")) examples.forEach((example) => showScore(example, key));
    sortedBy = key;
    document.body.classList.toggle("stacked", tools.elements.stacked.checked);
    document.getElementById("count").textContent =
      shown.length === examples.length ? `${examples.length} examples` : `${shown.length} of ${examples.length} examples`;
  };
  const reset = () => {
    tools.reset();
    direction.setAttribute("aria-pressed", "false");
    direction.textContent = "worst first";
  };
  direction.addEventListener("click", () => {
    const best = direction.getAttribute("aria-pressed") === "false";
    direction.setAttribute("aria-pressed", String(best));
    direction.textContent = best ? "best first" : "worst first";
    update();
  });
  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => { reset(); update(); });
  document.querySelectorAll(".buckets button").forEach((button) => button.addEventListener("click", () => {
    const select = tools.elements[`bucket:${button.dataset.kind}`];
    if (!select) return;
    select.value = select.value === button.dataset.value ? "" : button.dataset.value;
    update();
    tools.scrollIntoView();
  }));

  // going from one to the next

  const go = (element) => {
    list.querySelector(".now")?.classList.remove("now");
    element.classList.add("now");
    element.scrollIntoView();
    requestAnimationFrame(() => element.scrollIntoView()); // its neighbours have their true height only now
    history.replaceState(null, "", `#${element.id}`);
  };
  const step = (forward) => {
    const elements = shown.map((example) => example.element);
    const now = elements.findIndex((element) => element.classList.contains("now"));
    const box = now < 0 ? null : elements[now].getBoundingClientRect();
    if (box && box.bottom > 0 && box.top < innerHeight) {
      const next = elements[now + (forward ? 1 : -1)];
      if (next) go(next);
      return;
    }
    const top = tools.getBoundingClientRect().bottom;
    const ahead = elements.filter((element) => (element.getBoundingClientRect().top > top - 1) === forward);
    if (ahead.length) go(forward ? ahead[0] : ahead[ahead.length - 1]);
  };
  document.getElementById("next").addEventListener("click", () => step(true));
  document.getElementById("previous").addEventListener("click", () => step(false));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.target.matches("select, input")) return;
    if (event.key === "n" || event.key === "j") step(true);
    else if (event.key === "p" || event.key === "k") step(false);
    else if (event.key === "/") tools.elements.text.focus();
    else return;
    event.preventDefault();
  });
  const follow = () => {
    const wanted = examples.find(({ element }) => element.id === location.hash.slice(1));
    if (!wanted) return;
    if (wanted.element.hidden) { reset(); update(); }
    go(wanted.element);
  };
  addEventListener("hashchange", follow);

  // a cell and its counterpart

  const pair = (target, on) => {
    const cell = target.closest(".panes td, .panes th, .wrong li[data-cell]");
    const name = cell?.dataset.cell ?? [...(cell?.classList ?? [])].find((part) => /^k\d+$/.test(part));
    if (!name) return [];
    const found = [...cell.closest(".example").querySelectorAll(`.panes .${name}`)];
    found.forEach((other) => other.classList.toggle("pair", on));
    return found;
  };
  list.addEventListener("pointerover", (event) => pair(event.target, true));
  list.addEventListener("pointerout", (event) => pair(event.target, false));
  list.addEventListener("click", (event) => {
    if (event.target.matches("figure img")) event.target.closest("figure").classList.toggle("large");
    if (event.target.closest("li[data-cell]")) {
      pair(event.target, true).forEach((cell) => cell.scrollIntoView({ block: "nearest", inline: "nearest" }));
    }
  });

  tools.hidden = false;
  new ResizeObserver(() => {
    const height = getComputedStyle(tools).position === "sticky" ? tools.offsetHeight : 0;
    document.documentElement.style.setProperty("--tools", `${height}px`);
  }).observe(tools);
  update();
  follow();
})();
