// Brings a person to the first field that is wrong, wherever it stands on a small screen.
const WRONG = "[aria-invalid=true], fieldset[aria-describedby$=-error] input";

export function showWrong(place) {
  const wrong = place.querySelector(WRONG);
  if (!wrong) return false;
  wrong.focus({ preventScroll: true });
  (wrong.closest("fieldset, .field") || wrong).scrollIntoView({ block: "center" });
  return true;
}

// A form that stands on the page; the dialog's own is shown by overlays.js, once the dialog is open.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.xhr?.status >= 400 && event.target.matches("form")) showWrong(event.target);
});

// A form that was opened as a page of its own comes back as another page.
const page = document.querySelector("form.dialog-page");
if (page) showWrong(page);
