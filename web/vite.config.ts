import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const STATIC = "../src/masklet/server/static";

/** Files that the page is built from, in order, with "/" between folders. */
function sources(folder = "."): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.name !== "node_modules" && !entry.name.startsWith("."))
    .flatMap((entry) => (entry.isDirectory() ? sources(join(folder, entry.name)) : [join(folder, entry.name)]))
    .sort();
}

/** Writes down which sources a build was made from; tests/server/test_static.py checks it. */
function recordSources(): Plugin {
  return {
    name: "record-sources",
    closeBundle() {
      const hash = createHash("sha256");
      for (const path of sources()) hash.update(`${path}\0`).update(readFileSync(path)).update("\0");
      writeFileSync(join(STATIC, "sources.sha256"), `${hash.digest("hex")}\n`);
    },
  };
}

export default defineConfig({
  plugins: [svelte(), recordSources()],
  base: "./",
  build: { outDir: STATIC, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": { target: "http://localhost:8321", ws: true } } },
});
