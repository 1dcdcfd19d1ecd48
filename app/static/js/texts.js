// The words scripts show, in the page's language, from the JSON block of base.html.
const source = document.getElementById("texts");
export const texts = source ? JSON.parse(source.textContent) : {};
