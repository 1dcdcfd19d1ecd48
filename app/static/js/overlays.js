// The drawer (details of a row) and the dialog (a question with a form), both filled by htmx.
import { showWrong } from "./errors.js";

const drawer = document.getElementById("drawer");
const dialog = document.getElementById("dialog");
let opener = null;

export function rowOf(element) {
  return element && element.closest("tr[data-row]");
}

function select(row) {
  for (const other of document.querySelectorAll("tr[aria-selected=true]")) other.removeAttribute("aria-selected");
  if (row) row.setAttribute("aria-selected", "true");
}

function openDrawer(element) {
  const row = rowOf(element);
  if (row) {
    select(row);
    opener = row.querySelector(".row-link") || element;
  } else if (!drawer.classList.contains("open")) {
    opener = element;
  }
  if (drawer.classList.contains("open")) return;
  drawer.classList.add("open");
  drawer.focus({ preventScroll: true });
}

export function closeDrawer() {
  if (!drawer || !drawer.classList.contains("open")) return;
  drawer.classList.remove("open");
  drawer.replaceChildren();
  select(null);
  if (opener && opener.isConnected) opener.focus({ preventScroll: true });
}

// The rows above and below the selected one, without closing the drawer.
function step(by) {
  const rows = [...document.querySelectorAll("tr[data-row]")];
  const here = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
  const next = rows[here + by];
  if (next) next.querySelector(".row-link").click();
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target === drawer && drawer.childElementCount) openDrawer(event.detail.requestConfig.elt);
});

// Only once htmx has settled, which is when it moves the focus itself: what is typed at once lands in its field.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target !== dialog || dialog.dataset.settled === "yes") return;
  dialog.dataset.settled = "yes";
  if (dialog.childElementCount && !dialog.open) dialog.showModal();
  if (!showWrong(dialog)) dialog.querySelector("[autofocus]")?.focus();
});

// A secret never comes back from the server: what was typed goes on from a wrong form to the same one anew.
const SECRETS = "input[data-kept-typed]";
let typed = new Map();

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target !== dialog) return;
  delete dialog.dataset.settled;
  const isWrong = event.detail.xhr.status >= 400;
  typed = new Map([...dialog.querySelectorAll(SECRETS)].map((one) => [one.name, isWrong ? one.value : ""]));
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== dialog) return;
  for (const one of dialog.querySelectorAll(SECRETS)) one.value ||= typed.get(one.name) || "";
  typed.clear();
});

document.body.addEventListener("closeDialog", () => dialog && dialog.close());
document.body.addEventListener("closeDrawer", closeDrawer);

if (dialog) dialog.addEventListener("close", () => dialog.replaceChildren());

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-drawer-close]")) return closeDrawer();
  const stepper = event.target.closest("[data-drawer-step]");
  if (stepper) return step(Number(stepper.dataset.drawerStep));
  if (event.target.closest("[data-dialog-close]")) {
    event.preventDefault();
    return dialog.close();
  }
  if (event.target === dialog) dialog.close();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !dialog?.open) closeDrawer();
});
