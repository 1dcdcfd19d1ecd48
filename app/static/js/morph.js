// How a fragment is merged into the page: what a person typed, ticked or opened stays as it is.
const morph = window.Idiomorph.defaults;

// What is being typed stays. Only for fields: idiomorph would otherwise leave a focused link's words as they were.
Object.defineProperty(morph, "ignoreActiveValue", {
  enumerable: true,
  get: () => Boolean(document.activeElement && document.activeElement.matches("input, textarea, select")),
});

const KEPT = new Set(["aria-selected", "open", "data-kept"]);

morph.callbacks.beforeAttributeUpdated = (attribute, element) => {
  if (attribute === "checked" && element.matches("[data-select], [data-select-all]")) return false;
  if (attribute === "hidden" && element.matches("[data-bulk]")) return false;
  return !KEPT.has(attribute);
};

// A drawn chart is not part of the server's fragment; charts.js gives it the new figures.
morph.callbacks.beforeNodeRemoved = (node) => !(node.nodeType === 1 && node.classList.contains("uplot"));

morph.callbacks.afterNodeAdded = (node) => {
  if (node.nodeType === 1 && node.matches("tr[id]") && node.closest("[data-topic]")) node.classList.add("fresh");
};
