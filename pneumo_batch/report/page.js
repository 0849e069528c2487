"use strict";

// ------------------------------------------------------------------------------------------------ tables with filters
for (const box of document.querySelectorAll(".table")) {
  const selects = [...box.querySelectorAll("select[data-column]")];
  const rows = [...box.querySelectorAll("tbody tr")];
  const text = (row, select) => row.cells[Number(select.dataset.column)].textContent;
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = selects.some((select) => select.value !== "" && text(row, select) !== select.value);
      shown += row.hidden ? 0 : 1;
    }
    box.querySelector(".count").textContent = `${shown} of ${rows.length} rows`;
  };
  for (const select of selects) {
    const values = new Set(rows.map((row) => text(row, select)));
    select.append(new Option("all rows", ""), ...[...values].map((value) => new Option(value, value)));
    select.value = values.has(select.dataset.chosen) ? select.dataset.chosen : "";
    select.addEventListener("change", apply);
  }
  if (selects.length) apply();
}

// What is folded belongs to the paper copy too.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});

// ------------------------------------------------------------------------------------------------------------ gallery
const gallery = document.getElementById("gallery");
const cases = [...gallery.querySelectorAll(".case")];
const thumbs = [...gallery.querySelectorAll(".thumb")];
const controls = Object.fromEntries(
  ["by-rule", "by-class", "view", "opacity"].map((id) => [id, document.getElementById(id)]),
);
let current = 0;

const matching = () =>
  cases.map((_, i) => i).filter((i) => {
    const rule = controls["by-rule"].value;
    const name = controls["by-class"].value;
    const byRule = rule === "" || cases[i].dataset.rules.includes(` ${rule} `);
    return byRule && (name === "" || cases[i].dataset.class === name);
  });

function show() {
  const found = matching();
  if (!found.includes(current) && found.length) current = found[0];
  cases.forEach((one, i) => { one.hidden = i !== current || !found.length; });
  thumbs.forEach((thumb, i) => {
    thumb.hidden = !found.includes(i);
    thumb.setAttribute("aria-current", String(i === current));
  });
  document.getElementById("no-case").hidden = found.length > 0;
  document.getElementById("place").textContent = found.length ? `${found.indexOf(current) + 1} of ${found.length}` : "0";
  gallery.dataset.view = controls.view.value;
  gallery.style.setProperty("--opacity", controls.opacity.value / 100);
  document.getElementById("opacity-shown").textContent = `${controls.opacity.value} %`;
}

function step(by) {
  const found = matching();
  if (!found.length) return;
  current = found[(found.indexOf(current) + by + found.length) % found.length];
  show();
}

// The address can name an image and how it is shown: #case=3&view=signed&opacity=40&rule=2&class=NORMAL
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has("case") && !asked.has("view") && !asked.has("rule") && !asked.has("class")) return;
  const named = { view: "view", opacity: "opacity", rule: "by-rule", class: "by-class" };
  for (const [key, id] of Object.entries(named)) if (asked.has(key)) controls[id].value = asked.get(key);
  const wanted = Number(asked.get("case"));
  if (wanted in cases) current = wanted;
  show();
  gallery.scrollIntoView();
}

const inView = () => {
  const box = gallery.getBoundingClientRect();
  return box.top < innerHeight / 2 && box.bottom > innerHeight / 2;
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("select, input, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !inView()) return;
  if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "v" || event.key === "V") {
    controls.view.value = controls.view.value === "signed" ? "magnitude" : "signed";
    show();
  } else return;
  event.preventDefault();
});

for (const control of Object.values(controls)) control.addEventListener("input", show);
thumbs.forEach((thumb, i) => thumb.addEventListener("click", () => { current = i; show(); }));
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
addEventListener("hashchange", readAddress);
controls.view.value = gallery.dataset.view;
show();
readAddress();
