// The live channel: a WebSocket that carries only {topic, version}. An element with data-topic="a b" then gets the
// event "tick" and refetches its own fragment, at most once a second. While the channel is down it is asked every
// five seconds. A pressed [data-live-pause] holds back the [data-topic] elements of its data-live-pause selector
// (or of the whole page) until it is released. What a page asks for by itself says so (X-Unattended), and is then
// never sent to the login: the page stays, with a banner until it is answered again.
const state = document.getElementById("live-state");
const banner = document.getElementById("live-banner");
const loginBanner = document.getElementById("login-banner");
const CHANNEL = state && state.dataset.url;
const THROTTLE_MS = 1000;
const POLL_MS = 5000;
const BANNER_AFTER_MS = 4000;
const ASKED = new Set(["click", "submit", "change"]);
const RETRIES_MS = [500, 1000, 2000, 5000, 10000];

const lastTick = new WeakMap();
const waiting = new WeakMap();
const missed = new Set();
let socket = null;
let failures = 0;
let hasBeenOpen = false;
let isLeaving = false;
let bannerTimer = null;
let pollTimer = null;

function isPaused(element) {
  return [...document.querySelectorAll("[data-live-pause][aria-pressed=true]")].some((button) => {
    const selector = button.dataset.livePause;
    return !selector || Boolean(element.closest(selector));
  });
}

function tick(element) {
  if (!element.isConnected) return;
  if (document.hidden || isPaused(element)) {
    missed.add(element);
    return;
  }
  if (waiting.has(element)) return;
  const isBusy = element.classList.contains("htmx-request");
  const due = (lastTick.get(element) || 0) + THROTTLE_MS - Date.now();
  if (due <= 0 && !isBusy) {
    lastTick.set(element, Date.now());
    window.htmx.trigger(element, "tick");
    return;
  }
  waiting.set(
    element,
    setTimeout(() => {
      waiting.delete(element);
      tick(element);
    }, Math.max(due, 250)),
  );
}

function tickTopic(topic) {
  for (const element of document.querySelectorAll("[data-topic]")) {
    if (element.dataset.topic.split(" ").includes(topic)) tick(element);
  }
}

export function tickAll() {
  for (const element of document.querySelectorAll("[data-topic]")) tick(element);
}

function catchUp() {
  const held = [...missed];
  missed.clear();
  for (const element of held) tick(element);
}

function show(name) {
  if (!state) return;
  for (const part of state.querySelectorAll("[data-live]")) part.hidden = part.dataset.live !== name;
}

function connect() {
  socket = new WebSocket(new URL(CHANNEL, location.href.replace(/^http/, "ws")));
  socket.addEventListener("open", () => {
    failures = 0;
    clearTimeout(bannerTimer);
    bannerTimer = null;
    clearInterval(pollTimer);
    pollTimer = null;
    banner.hidden = true;
    show("on");
    if (hasBeenOpen) tickAll();
    hasBeenOpen = true;
  });
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(event.data);
    for (const one of Array.isArray(message) ? message : [message]) tickTopic(one.topic);
  });
  socket.addEventListener("close", reconnectLater);
}

function reconnectLater() {
  if (isLeaving) return;
  show("off");
  bannerTimer = bannerTimer || setTimeout(() => (banner.hidden = !loginBanner.hidden), BANNER_AFTER_MS);
  pollTimer = pollTimer || setInterval(tickAll, POLL_MS);
  setTimeout(connect, RETRIES_MS[Math.min(failures, RETRIES_MS.length - 1)]);
  failures += 1;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-live-pause]");
  if (!button) return;
  const isPressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(isPressed));
  for (const part of button.querySelectorAll("[data-when]")) {
    part.hidden = (part.dataset.when === "paused") !== isPressed;
  }
  if (!isPressed) catchUp();
});

document.addEventListener("visibilitychange", () => document.hidden || catchUp());
document.body.addEventListener("refresh", tickAll);
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (!ASKED.has(detail.triggeringEvent?.type)) detail.headers["X-Unattended"] = "1";
});
document.body.addEventListener("loginEnded", () => {
  banner.hidden = true;
  loginBanner.hidden = false;
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.successful && loginBanner) loginBanner.hidden = true;
});
addEventListener("pagehide", () => {
  isLeaving = true;
  if (socket) socket.close();
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  isLeaving = false;
  if (CHANNEL) connect();
});

if (CHANNEL) connect();
