import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const STATIC = "../src/masklet/server/static";

const RECORD = "built.sha256";

/** Files of a folder, in order, with "/" between folders. */
function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => name !== "node_modules" && name !== RECORD && !name.startsWith("."))
    .flatMap((entry) => (entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)]))
    .map((path) => path.replaceAll("\\", "/"))
    .sort();
}

function digest(folder: string): string {
  const hash = createHash("sha256");
  for (const path of files(folder)) hash.update(`${relative(folder, path)}\0`).update(readFileSync(path)).update("\0");
  return hash.digest("hex");
}

/** Writes down which sources a build was made from and what came out; tests/server/test_static.py checks it. */
function recordBuild(): Plugin {
  return {
    name: "record-build",
    closeBundle: () => writeFileSync(join(STATIC, RECORD), `${digest(".")}  web\n${digest(STATIC)}  static\n`),
  };
}

export default defineConfig({
  plugins: [svelte(), recordBuild()],
  base: "./",
  build: { outDir: STATIC, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": { target: "http://localhost:8321", ws: true } } },
});
