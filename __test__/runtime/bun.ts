/** Preloaded by Bun: makes it use `./ava.js` for ava. */
import test from './ava.js';

interface PluginBuilder {
  module(specifier: string, load: () => { loader: 'object'; exports: object }): void;
}

declare const Bun: { plugin(plugin: { name: string; setup(build: PluginBuilder): void }): void };

Bun.plugin({
  name: 'ava',
  setup: (build) => build.module('ava', () => ({ loader: 'object', exports: { default: test } })),
});
