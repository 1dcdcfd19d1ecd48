// Rows that open their details, ticked rows, forms sent once.
const CONTROLS = "a, button, input, select, textarea, label, summary, [role=button]";

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-row]");
  if (!row || event.target.closest(CONTROLS) || String(getSelection())) return;
  const link = row.querySelector(".row-link");
  if (link) link.click();
});

function boxes(scope) {
  return [...scope.querySelectorAll("input[data-select]")];
}

function countTicked(scope) {
  const ticked = boxes(scope).filter((box) => box.checked).length;
  for (const bar of scope.querySelectorAll("[data-bulk]")) bar.hidden = ticked === 0;
  for (const place of scope.querySelectorAll("[data-bulk-count]")) place.textContent = ticked;
  const all = scope.querySelector("input[data-select-all]");
  if (all) {
    all.checked = ticked > 0 && ticked === boxes(scope).length;
    all.indeterminate = ticked > 0 && !all.checked;
  }
}

document.addEventListener("change", (event) => {
  const scope = event.target.closest("[data-select-scope]");
  if (!scope) return;
  if (event.target.matches("[data-select-all]")) {
    for (const box of boxes(scope)) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-select], [data-select-all]")) countTicked(scope);
});

function recount() {
  for (const scope of document.querySelectorAll("[data-select-scope]")) countTicked(scope);
}
document.addEventListener("htmx:afterSwap", recount);
recount();

// A plain form sent twice by a double click would act twice.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  if (event.target.dataset.sent) return event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// An empty filter stays out of the URL.
document.addEventListener("htmx:configRequest", (event) => {
  if (!event.target.matches("form.filters")) return;
  const typed = event.detail.formData;
  for (const [name, value] of [...typed]) if (value === "") typed.delete(name);
});

// On a phone the filters behind the first one are folded away.
document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-filters-toggle]");
  if (!toggle) return;
  toggle.setAttribute("aria-expanded", String(toggle.form.classList.toggle("open")));
});
