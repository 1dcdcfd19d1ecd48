// Starts every part of the page's behaviour. Each module sets its own listeners on the document, so that
// fragments swapped in later need no set-up of their own.
import "./morph.js";
import "./menu.js";
import "./errors.js";
import "./overlays.js";
import "./toasts.js";
import "./lists.js";
import "./copy.js";
import "./times.js";
import "./charts.js";
import "./live.js";
