"use strict";
/* Colours, galleries and the viewer of a page. Pictures lie in it as lines of text, and become images when they are shown. */

const ONE_STEP = 24, ALL_STEPS = 6; // images a page of a gallery

function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

function startTheme(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const isDark = () => (chosen ?? (dark.matches ? "dark" : "light")) === "dark";
  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-pressed", isDark());
  };
  button.hidden = false;
  button.addEventListener("click", () => { chosen = isDark() ? "light" : "dark"; show(); });
  dark.addEventListener("change", show);
  show();
}

/* A photograph and, over its grey copy, one step; --cut says how much of the photograph is seen. */
function stack(prefix, pictures, step) {
  const [width, height] = pictures.size, photograph = prefix + pictures.photograph[0], layer = pictures.layers[step];
  const image = (src, alt, className = "") => make("img", { src, alt, className, width, height, decoding: "async" });
  const box = make("span", { className: "stack" }, image(photograph, layer ? "" : pictures.photograph[1]));
  box.style.aspectRatio = `${width} / ${height}`;
  if (layer) {
    const over = make("span", { className: "over" }, image(photograph, "", "grey"), image(prefix + layer[0], layer[1]));
    box.append(over);
  }
  return box;
}

function startGallery(section, openViewer) {
  const find = selector => section.querySelector(selector);
  const { prefix, classes, rows } = JSON.parse(find(".index").textContent);
  const lines = find(".pictures").textContent.trim().split("\n");
  const steps = [...section.querySelectorAll(".steps input")].map(input => input.value).filter(Boolean);
  const images = find(".images"), pager = find(".pager"), wanted = new Set();
  let listed = rows, page = 0;
  rows.forEach((row, number) => { row.pictures = () => JSON.parse(lines[number]); });

  const step = () => find(".steps input:checked").value;
  const size = () => step() ? ONE_STEP : ALL_STEPS;
  const pages = () => Math.max(Math.ceil(listed.length / size()), 1);
  const chip = index => make("span", { className: "chip" }, swatch(index), classes[index].name);
  const swatch = index => { const i = make("i"); i.style.background = classes[index].color; return i; };

  function words(row) {
    const score = row.score === null ? [] : [make("span", { className: "score" }, `${section.dataset.scored} ${row.score.toFixed(1)}`)];
    return [make("b", {}, row.id), ...row.classes.map(chip), ...score];
  }

  function tile(row, pictures, name) {
    const button = make("button", { type: "button", className: "tile" }, stack(prefix, pictures, name));
    if (!(name in pictures.layers) && name) button.append(make("span", { className: "small soft" }, `no ${name}`));
    button.addEventListener("click", () => openViewer({ prefix, rows: listed, at: listed.indexOf(row), step: name, steps, words }));
    return button;
  }

  function figure(row) {
    const pictures = row.pictures();
    if (step()) return make("figure", {}, tile(row, pictures, step()), make("figcaption", { className: "small" }, ...words(row)));
    const present = ["", ...steps.filter(name => name in pictures.layers)];
    const tiles = present.map(name => make("span", {}, tile(row, pictures, name), make("span", { className: "small soft" }, name || "photograph")));
    return make("figure", { className: "all" }, make("figcaption", { className: "small" }, ...words(row)), make("div", { className: "tiles" }, ...tiles));
  }

  function show() {
    page = Math.min(Math.max(page, 0), pages() - 1);
    const start = page * size(), shown = listed.slice(start, start + size());
    images.replaceChildren(...shown.map(figure));
    images.classList.toggle("rows", !step());
    find(".status").textContent = shown.length ? `Images ${start + 1} to ${start + shown.length} of ${listed.length}` : "No image shows these classes.";
    pager.hidden = pages() === 1;
    pager.querySelector("span").textContent = `page ${page + 1} of ${pages()}`;
    pager.querySelector("[data-page='-1']").disabled = page === 0;
    pager.querySelector("[data-page='1']").disabled = page === pages() - 1;
  }

  function choose() {
    const order = find("select").value, sign = order === "worst" ? 1 : -1;
    listed = rows.filter(row => !wanted.size || row.classes.some(index => wanted.has(index)));
    if (order !== "listed") {
      listed = [...listed].sort((a, b) => (a.score === null) - (b.score === null) || sign * (a.score - b.score));
    }
    page = 0;
    show();
  }

  function turn(by) {
    const before = page;
    page += by;
    show();
    return page !== before;
  }

  /* Arrow keys go from picture to picture, and over the ends of a page. */
  function move(event) {
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key], upwards = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const tiles = [...images.querySelectorAll(".tile")], here = event.target.closest(".tile");
    if (!(sideways || upwards) || !here) return;
    event.preventDefault();
    let next = tiles[tiles.indexOf(here) + sideways];
    if (sideways && !next && turn(sideways)) next = images.querySelectorAll(".tile").item(sideways > 0 ? 0 : images.querySelectorAll(".tile").length - 1);
    if (upwards) {
      const from = here.getBoundingClientRect();
      const cost = other => { const to = other.getBoundingClientRect(); return 9 * Math.abs(to.top - from.top) + Math.abs(to.left - from.left); };
      const ahead = tiles.filter(other => upwards * (other.getBoundingClientRect().top - from.top) > from.height / 2);
      next = ahead.sort((a, b) => cost(a) - cost(b))[0];
    }
    next?.focus();
  }

  const counts = classes.map((_, index) => rows.filter(row => row.classes.includes(index)).length);
  for (const index of classes.keys()) {
    if (!counts[index]) continue;
    const button = make("button", { type: "button" }, swatch(index), classes[index].name, make("span", { className: "soft" }, ` ${counts[index]}`));
    button.setAttribute("aria-pressed", false);
    button.addEventListener("click", () => {
      if (!wanted.delete(index)) wanted.add(index);
      button.setAttribute("aria-pressed", wanted.has(index));
      choose();
    });
    find(".filters").append(button);
  }
  find(".filters").append(make("span", { className: "chip soft" }, swatch(classes.length - 1), classes.at(-1).name));
  find(".tools").hidden = false;
  find(".reveal input").addEventListener("input", event => section.style.setProperty("--cut", `${event.target.value}%`));
  find("select").addEventListener("change", choose);
  find(".steps").addEventListener("change", () => { page = 0; show(); });
  pager.addEventListener("click", event => {
    if (!event.target.dataset.page) return;
    turn(Number(event.target.dataset.page));
    section.scrollIntoView();
  });
  images.addEventListener("keydown", move);
  find(".steps").scrollLeft = find(".steps input:checked").parentElement.offsetLeft - 90; // on narrow screens
  choose();
}

/* One image at a time, large. Returns the function that opens it. */
function startViewer(dialog) {
  const find = selector => dialog.querySelector(selector), slider = find("input");
  let shown = null;

  function show() {
    const row = shown.rows[shown.at], pictures = row.pictures(), names = ["", ...shown.steps.filter(name => name in pictures.layers)];
    if (!names.includes(shown.step)) shown.step = "";
    find(".stage").replaceChildren(stack(shown.prefix, pictures, shown.step));
    find(".caption").replaceChildren(make("span", {}, `${shown.at + 1} of ${shown.rows.length}`), ...shown.words(row));
    find(".steps").replaceChildren(...names.map(name => {
      const button = make("button", { type: "button" }, stack(shown.prefix, pictures, name), make("span", { className: "small" }, name || "photograph"));
      button.setAttribute("aria-pressed", name === shown.step);
      button.addEventListener("click", () => { shown.step = name; show(); find(".steps [aria-pressed=true]").focus(); });
      return button;
    }));
    find(".steps [aria-pressed=true]").scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });
    shown.names = names;
  }

  function cut(share) {
    slider.value = share;
    dialog.style.setProperty("--cut", `${slider.value}%`);
  }

  function go(images, steps) {
    shown.at = Math.min(Math.max(shown.at + images, 0), shown.rows.length - 1);
    const place = shown.names.indexOf(shown.step) + steps;
    shown.step = shown.names[Math.min(Math.max(place, 0), shown.names.length - 1)];
    show();
  }

  slider.addEventListener("input", () => cut(slider.value));
  const drag = event => {
    if (!event.buttons) return;
    const box = find(".stage .stack").getBoundingClientRect();
    cut(100 * (event.clientX - box.left) / box.width);
    event.preventDefault();
  };
  find(".stage").addEventListener("pointerdown", drag);
  find(".stage").addEventListener("pointermove", drag);
  dialog.addEventListener("click", event => {
    if (event.target === dialog || "close" in event.target.dataset) dialog.close();
    else if (event.target.dataset.go) go(Number(event.target.dataset.go), 0);
  });
  dialog.addEventListener("keydown", event => {
    const [images, steps] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (!(images || steps) || event.target === slider) return;
    event.preventDefault();
    go(images, steps);
    find("[data-go='1']").focus();
  });
  return what => { shown = what; cut(0); dialog.showModal(); show(); find("[data-go='1']").focus(); };
}

document.querySelectorAll(".theme").forEach(startTheme);
const viewer = document.querySelector(".viewer");
if (viewer) {
  const open = startViewer(viewer);
  document.querySelectorAll("section.gallery").forEach(section => startGallery(section, open));
}
