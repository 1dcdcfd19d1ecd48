// Keeps "3 minutes ago" true, and counts running durations: <time data-relative>, <time data-running>.
import { texts } from "./texts.js";

const STEPS = [
  [60, 1, "seconds"],
  [3600, 60, "minutes"],
  [86400, 3600, "hours"],
  [Infinity, 86400, "days"],
];

function relative(seconds) {
  if (seconds < 5) return texts.justNow;
  const [, unit, name] = STEPS.find(([limit]) => seconds < limit);
  return texts[name].replace("%d", Math.floor(seconds / unit));
}

function running(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return texts.lastSeconds.replace("%d", whole);
  return texts.lastMinutes.replace("%m", Math.floor(whole / 60)).replace("%s", whole % 60);
}

function refresh() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-relative], time[data-running]")) {
    const seconds = (now - Date.parse(time.dateTime)) / 1000;
    if (seconds < 0 && time.hasAttribute("data-relative")) continue;
    const words = time.hasAttribute("data-running") ? running(seconds) : relative(seconds);
    if (time.textContent !== words) time.textContent = words;
  }
}

setInterval(() => document.hidden || refresh(), 1000);
document.addEventListener("htmx:afterSwap", refresh);
refresh();
