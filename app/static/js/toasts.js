// Short notes in the corner: from the HX-Trigger header ({"toast": {"level", "text"}}), and for failed requests.
import { texts } from "./texts.js";

const place = document.getElementById("toasts");
const SHOWN_MS = 6000;

function fade(note) {
  if (!note.matches(".error")) setTimeout(() => note.remove(), SHOWN_MS);
}

export function toast(level, text) {
  const pattern = document.getElementById(`toast-${level}`) || document.getElementById("toast-success");
  const note = pattern.content.firstElementChild.cloneNode(true);
  note.querySelector("p").textContent = text;
  place.append(note);
  fade(note);
}

document.body.addEventListener("toast", (event) => toast(event.detail.level || "success", event.detail.text));

document.addEventListener("click", (event) => {
  const close = event.target.closest("[data-toast-close]");
  if (close) close.closest(".toast-note").remove();
});

// A form with errors (400, 409, 422) is shown where it stood; our own error notes say where they go; anything
// else (a proxy's page, say) is never put into the page.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status < 400 || [400, 409, 422].includes(xhr.status)) return;
  if (xhr.getResponseHeader("HX-Retarget")) return;
  event.detail.shouldSwap = false;
  if (xhr.status === 401) return; // the banner of live.js says it
  if (!isQuiet(event.detail.requestConfig.elt)) toast("error", texts.requestFailed);
});

document.body.addEventListener("htmx:sendError", (event) => {
  if (!isQuiet(event.detail.elt)) toast("error", texts.notReached);
});

// What refreshes by itself does not complain: the banner of live.js already says it.
function isQuiet(element) {
  return element && element.matches && element.matches("[data-topic]");
}
