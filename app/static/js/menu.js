// Sidebar on small screens, theme button, search shortcut, account menu.
const side = document.getElementById("side");
const scrim = document.getElementById("scrim");
const burger = document.getElementById("burger");
const root = document.documentElement;

function showMenu(isOpen) {
  if (!side) return;
  side.classList.toggle("open", isOpen);
  scrim.classList.toggle("on", isOpen);
  burger.setAttribute("aria-expanded", String(isOpen));
  if (isOpen) side.querySelector("a").focus({ preventScroll: true });
}

function switchTheme() {
  const theme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  root.dataset.bsTheme = theme;
  document.cookie = `piculus_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  document.dispatchEvent(new CustomEvent("themechange"));
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#burger")) return showMenu(!side.classList.contains("open"));
  if (event.target === scrim) return showMenu(false);
  if (event.target.closest("[data-theme-switch]")) return switchTheme();
  for (const menu of document.querySelectorAll("details.account[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (side && side.classList.contains("open")) {
      showMenu(false);
      burger.focus();
    }
    for (const menu of document.querySelectorAll("details.account[open]")) menu.open = false;
  }
  const isChord = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k";
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  if (isChord || (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey)) {
    const search = document.querySelector(".global-search input");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});
