// A person at a real browser (Chromium, without script): opens the page of a question, signs in at the provider, and answers.
//
// Input, on standard input: {"modules", "browser", "url", "account", "answer": "approve" | "change" | "deny" | "look" | "keys", "arguments", "reason", "shots"}.
// Output: what the page said before and after. With "shots" the page is taken at several widths and colours, and looked at by axe.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const order = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(`${order.modules}/`);
const { chromium } = require("playwright-core");
const browser = await chromium.launch({ executablePath: order.browser, args: ["--no-sandbox", "--disable-gpu"] });
const told = { violations: [], shots: [] };

async function signIn(page) {
  for (let step = 0; step < 4 && (await page.locator("[name=prompt]").count()) > 0; step += 1) {
    if (await page.locator("[name=login]").count()) {
      await page.fill("[name=login]", order.account);
      await page.fill("[name=password]", "x");
    }
    await page.click("[type=submit]");
    await page.waitForLoadState();
  }
}

try {
  // The page works without script.
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(order.url);
  await signIn(page);
  told.url = page.url();
  told.before = await page.locator("main").innerText();
  if (order.shots) {
    const cookies = await context.cookies();
    for (const [name, width, height, colorScheme] of [
      ["desktop-light", 1280, 900, "light"],
      ["desktop-dark", 1280, 900, "dark"],
      ["phone-light", 360, 740, "light"],
      ["phone-dark", 360, 740, "dark"],
    ]) {
      // Only axe needs script, and to be let in by the page's policy.
      const seen = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
      await seen.addCookies(cookies);
      const looked = await seen.newPage();
      await looked.goto(page.url());
      const shot = `${order.shots}/approval-${name}.png`;
      await looked.screenshot({ path: shot, fullPage: true });
      told.shots.push(shot);
      const wide = await looked.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      if (wide) told.violations.push(`${name}: the page is wider than the screen`);
      await looked.addScriptTag({ path: require.resolve("axe-core/axe.min.js") });
      const found = await looked.evaluate(() => window.axe.run());
      for (const one of found.violations) {
        if (["serious", "critical"].includes(one.impact)) told.violations.push(`${name}: ${one.id}: ${one.nodes[0].html}`);
      }
      await seen.close();
    }
  }
  // An answer leads to another page, or to the same anew.
  const answering = (act) => Promise.all([page.waitForEvent("load"), act()]);
  if (order.answer === "approve") await answering(() => page.click("button[value=approve]"));
  if (order.answer === "keys") {
    // Only with the keyboard: on to the button, and press it.
    for (let presses = 0; presses < 20; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.locator("button[value=approve]:focus").count()) break;
    }
    await answering(() => page.keyboard.press("Enter"));
  }
  if (order.answer === "change") {
    await page.click("summary");
    await page.fill("[name=arguments]", order.arguments);
    await answering(() => page.click("button[value=approve_changed]"));
  }
  if (order.answer === "deny") {
    await page.fill("[name=reason]", order.reason);
    await answering(() => page.click("button[value=deny]"));
  }
  // Somebody who has to sign in again does, and answers again.
  if (await page.locator("[name=prompt]").count()) {
    await signIn(page);
    told.again = true;
    if (order.answer === "approve") await answering(() => page.click("button[value=approve]"));
  }
  told.after = await page.locator("main").innerText();
} catch (error) {
  told.failed = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
