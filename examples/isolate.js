// Makes a page cross-origin isolated where the server cannot send the two headers, as on a static host: a service worker adds
// them to what the page loads. Copy this file beside the page, and load it first of all:
//
//   <script src="isolate.js"></script>
//
// The first visit loads the page a second time. It needs https, or localhost.

const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** `response` with the two headers; one of another origin that cannot be read is left as it is. */
function isolated(response) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

function serve() {
  addEventListener("install", () => skipWaiting());
  addEventListener("activate", (event) => event.waitUntil(clients.claim()));
  addEventListener("fetch", (event) => {
    const { request } = event;
    // Developer tools ask so for what they have seen; fetch would refuse it.
    if (request.cache === "only-if-cached" && request.mode !== "same-origin") return;
    event.respondWith(fetch(request).then(isolated));
  });
}

function register() {
  if (crossOriginIsolated || !navigator.serviceWorker || navigator.serviceWorker.controller) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
  navigator.serviceWorker.register(document.currentScript.src);
}

if (typeof document === "undefined") serve();
else register();
