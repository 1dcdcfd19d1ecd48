// Copies data-copy (a text) or the content of data-copy-from (a selector) and shows a tick for a moment.
import { toast } from "./toasts.js";
import { texts } from "./texts.js";

async function copy(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "visually-hidden";
  document.body.append(box);
  box.select();
  const isCopied = document.execCommand("copy");
  box.remove();
  if (!isCopied) throw new Error("copy refused");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  event.preventDefault();
  const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  try {
    await copy(source ? source.textContent : button.dataset.copy);
    button.classList.add("done");
    toast("success", texts.copied);
    setTimeout(() => button.classList.remove("done"), 1500);
  } catch {
    toast("error", texts.notCopied);
  }
});
