// A server before the gateway that passes requests on, counts them, and fails as a test tells it.

import { createServer, request as send } from "node:http";

/**
 * @typedef {{ status: number, headers?: Record<string, string>, body?: string }} Answer
 * @typedef {"pass" | "cut" | "hang" | Answer} Fate
 */

/**
 * Starts the server.
 *
 * @param {string} gateway
 */
export async function startFront(gateway) {
  const front = {
    url: "",
    /** @type {{ method: string, path: string, headers: import("node:http").IncomingHttpHeaders }[]} */
    requests: [],
    /**
     * Decides what happens to a request.
     *
     * @type {(request: { method: string, path: string }) => Fate}
     */
    fate: () => "pass",
    /** Cuts the connections on which answers are being sent. */
    cutAll: () => open.forEach((response) => response.destroy()),
    stop: () => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    },
  };
  /** @type {Set<import("node:http").ServerResponse>} */
  const open = new Set();
  const server = createServer((request, response) => {
    const { method = "GET", url: path = "/", headers } = request;
    front.requests.push({ method, path, headers });
    const fate = front.fate({ method, path });
    if (fate === "hang") return;
    if (fate === "cut") return void response.destroy();
    if (fate !== "pass") return void response.writeHead(fate.status, fate.headers).end(fate.body);
    open.add(response);
    response.once("close", () => open.delete(response));
    const upstream = send(gateway + path, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.once("close", () => upstream.destroy());
    request.pipe(upstream);
  }).listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const address = server.address();
  front.url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return front;
}
