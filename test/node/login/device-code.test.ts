/** What a user at a terminal reads of a device code, and when `createMcpAuth` prints one. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type Clock, type DeviceCodePrompt, systemClock } from "../../../src/index.ts";
import { createMcpAuth, type McpAuthOptions, printDeviceCode } from "../../../src/node/index.ts";
import { enterDeviceCode, type ProtectedServer, person, startProtectedServer } from "../../fixture/index.ts";
import { userAtHand } from "../../storm/support.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer({ authorizationServer: { deviceFlow: true } });
});
afterAll(() => server.close());

/** Polls at once. */
const clock: Clock = { ...systemClock, sleep: (ms, options) => systemClock.sleep(options?.background ? ms : 5, options) };

describe("what is printed", () => {
  const printed = (change: Partial<DeviceCodePrompt> = {}): string => {
    const lines: string[] = [];
    const prompt = { userCode: "WDJB-MJHT", verificationUri: "https://as.example/device", expiresAt: Date.now() + 600_500, ...change };
    printDeviceCode(prompt, (text) => lines.push(text));
    return lines.join("\n");
  };

  test("address and code stand alone on their lines, and how long the code is good", () => {
    expect(printed()).toContain("\n  https://as.example/device\n");
    expect(printed()).toContain("\n  WDJB-MJHT\n");
    expect(printed()).toContain("good for 10 minutes");
    expect(printed({ expiresAt: Date.now() + 30_000 })).toContain("good for a minute");
  });

  test("the address with the code in it, where there is one, and that the code is to be compared", () => {
    expect(printed()).not.toContain("same code");
    const complete = printed({ verificationUriComplete: "https://as.example/device?user_code=WDJB-MJHT" });
    expect(complete).toMatch(/same code:\n\n {2}https:\/\/as\.example\/device\?user_code=WDJB-MJHT\n/);
  });
});

describe("createMcpAuth", () => {
  const auth = (options: McpAuthOptions) => {
    server.reset();
    const made = createMcpAuth(server.url, { app: `device-${Math.random()}`, clock, ...options });
    onTestFinished(() => made.dispose());
    return made;
  };
  const stderr = () => {
    const lines: string[] = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
    return () => lines.join("");
  };
  const overSsh = () => vi.stubEnv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.8 22");
  const address = /^ {2}(http\S+)$/m;
  const code = /^ {2}([A-Z]{4}-[A-Z]{4})$/m;

  test("over SSH a code is printed in place of a long address, and no port is opened", async () => {
    overSsh();
    const shown = stderr();
    const login = auth({ interactive: true }).authorize();
    await expect.poll(shown).toMatch(code);
    await enterDeviceCode(address.exec(shown())?.[1] ?? "", code.exec(shown())?.[1]);
    expect(await login).toBe("authorized");
    expect(shown()).not.toMatch(/ssh -L|authorize\?/);
  });

  test("the app's own `print` gets it", async () => {
    overSsh();
    const shown = stderr();
    const printed = Promise.withResolvers<string>();
    const login = auth({ interactive: true, print: printed.resolve }).authorize();
    const text = await printed.promise;
    await enterDeviceCode(address.exec(text)?.[1] ?? "", code.exec(text)?.[1]);
    expect(await login).toBe("authorized");
    expect(shown()).toBe("");
  });

  test("an app that opens the browser by itself knows that there is one: no code", async () => {
    overSsh();
    const shown = stderr();
    expect(await auth({ interactive: true, openBrowser: async (url) => void person(url), print: () => {} }).authorize()).toBe("authorized");
    expect(shown()).not.toMatch(code);
  });

  test("an app with a `loginHandler` of its own has it over SSH as well: no code", async () => {
    overSsh();
    const shown = stderr();
    const loginHandler = userAtHand();
    expect(await auth({ interactive: true, loginHandler }).authorize()).toBe("authorized");
    expect([loginHandler.opened, shown()]).toEqual([1, ""]);
  });

  test.each<[where: string, environment: Record<string, string>]>([
    ["at a desktop", { DISPLAY: ":0" }],
    ["over SSH", { SSH_CONNECTION: "192.0.2.7 50000 192.0.2.8 22" }],
    ["where there is neither display nor terminal", { DISPLAY: "", WAYLAND_DISPLAY: "" }],
    ["in CI", { CI: "true" }],
  ])("an app that shows codes by itself gets them %s", async (_where, environment) => {
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    const prompts: DeviceCodePrompt[] = [];
    const onDeviceCode = async (prompt: DeviceCodePrompt) => {
      prompts.push(prompt);
      await enterDeviceCode(prompt.verificationUri, prompt.userCode);
    };
    expect(await auth({ onDeviceCode }).authorize()).toBe("authorized");
    expect(prompts).toHaveLength(1);
  });

  test("`interactive: false` asks nobody, whatever the app could show", async () => {
    const onDeviceCode = vi.fn();
    await expect(auth({ onDeviceCode, interactive: false }).authorize()).rejects.toMatchObject({ code: "login_required" });
    expect(onDeviceCode).not.toHaveBeenCalled();
  });
});
