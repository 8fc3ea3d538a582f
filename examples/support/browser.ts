/** A user's browser, played: it has cookies for each host, and follows redirects. */
export function browser(application: string) {
  const jars = new Map<string, Map<string, string>>();

  async function go(address: string, init: RequestInit): Promise<string> {
    let url = new URL(address, application);
    let next = init;
    for (;;) {
      const jar = jars.get(url.host) ?? new Map<string, string>();
      jars.set(url.host, jar);
      const headers = new Headers(next.headers);
      headers.set("cookie", [...jar].map((pair) => pair.join("=")).join("; "));
      const response = await fetch(url, { ...next, headers, redirect: "manual" });
      for (const cookie of response.headers.getSetCookie()) {
        const [name = "", value = ""] = (cookie.split(";")[0] ?? "").split(/=(.*)/s);
        if (cookie.includes("Max-Age=0")) jar.delete(name);
        else jar.set(name, value);
      }
      const location = response.headers.get("location");
      if (location === null) return response.text();
      url = new URL(location, url);
      next = {};
    }
  }

  return {
    /** Presses a button of the application's page. @returns the page that appears */
    press: (action: string, fields: Record<string, string> = {}) =>
      go(action, { method: "POST", body: new URLSearchParams(fields), headers: { "sec-fetch-site": "same-origin" } }),
  };
}
