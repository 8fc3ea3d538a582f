/** Two workers of a cluster that listen on one port, played by `listener.test.ts`. Says what each got. */
import cluster from "node:cluster";
import { listen } from "../../../../src/node/login/loopback/listener.ts";

const port = Number(process.argv[2]);

if (cluster.isPrimary) {
  const got: unknown[] = [];
  const next = () =>
    cluster.fork().once("message", (message) => {
      got.push(message);
      if (got.length < 2) return next();
      console.log(JSON.stringify(got));
      process.exit();
    });
  next();
} else {
  const answer = () => Promise.reject(new Error("nobody asks"));
  const found = await listen({ port, bindAddress: "127.0.0.1", path: "/", proxyHost: () => undefined, answer });
  process.send?.(found ? "the port" : "nothing");
}
