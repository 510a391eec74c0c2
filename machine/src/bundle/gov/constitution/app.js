// Part 2: apps.

// An endpoint is kept with all that is written in app.json; these fields must be right.
const ENDPOINT = {
  js_module: is.text,
  js_function: is.text,
  mode: is.oneOf("readwrite", "readonly", "historical"),
  forwarding_required: is.oneOf("sometimes", "always", "never"),
  redirection_strategy: optional(is.oneOf("none", "to_primary", "to_backup")),
  authn_policies: is.array,
  openapi: optional(is.object),
  openapi_hidden: optional(is.boolean),
  interpreter_reuse: optional(is.object),
};

const OPTIONS = {
  max_heap_bytes: is.whole(1, 2 ** 32 - 1),
  max_stack_bytes: is.whole(1, 2 ** 32 - 1),
  max_execution_time_ms: is.whole(1, 2 ** 32 - 1),
  log_exception_details: optional(is.boolean),
  return_exception_details: optional(is.boolean),
  max_cached_interpreters: optional(is.whole(0, 2 ** 32 - 1)),
  // Beyond CCF 6: `Date` shows the time of the request from the start, as in CCF 7.
  enable_untrusted_date_time: optional(is.boolean),
};

// In the tables, paths of modules begin with a slash.
const rooted = (name) => (name.startsWith("/") ? name : `/${name}`);

function* endpointsOf(metadata) {
  for (const [url, verbs] of Object.entries(metadata.endpoints)) {
    for (const [verb, endpoint] of Object.entries(verbs)) yield [url, verb, endpoint];
  }
}

function checkApp(bundle) {
  requireFields(bundle, { metadata: is.object, modules: is.array }, "bundle");
  require(bundle.metadata.endpoints, is.object, "bundle.metadata.endpoints");
  const modules = new Set();
  bundle.modules.forEach((module, at) => {
    const where = `bundle.modules[${at}]`;
    requireFields(module, { name: is.text, module: is.string }, where);
    const name = rooted(module.name);
    if (modules.has(name)) throw new Error(`${where}.name: module '${module.name}' is in the bundle twice`);
    modules.add(name);
  });
  const known = new Set();
  for (const [url, verbs] of Object.entries(bundle.metadata.endpoints)) {
    require(verbs, is.object, `bundle.metadata.endpoints["${url}"]`);
    if (!url.startsWith("/")) throw new Error(`bundle.metadata.endpoints["${url}"] must begin with a slash`);
  }
  for (const [url, verb, endpoint] of endpointsOf(bundle.metadata)) {
    const where = `bundle.metadata.endpoints["${url}"].${verb}`;
    requireFields(endpoint, ENDPOINT, where);
    endpoint.authn_policies.forEach((policy, at) => {
      const names = typeof policy === "object" && policy !== null ? policy.all_of : [policy];
      if (!Array.isArray(names) || names.length === 0 || names.some((name) => typeof name !== "string")) {
        throw new Error(`${where}.authn_policies[${at}] must be a name, or an object with all_of, a list of names`);
      }
    });
    if (endpoint.interpreter_reuse) require(endpoint.interpreter_reuse.key, is.text, `${where}.interpreter_reuse.key`);
    if (!modules.has(rooted(endpoint.js_module))) {
      throw new Error(`${where}: module '${endpoint.js_module}' not found in bundle`);
    }
    const name = `${verb.toUpperCase()} ${url}`;
    if (known.has(name)) throw new Error(`${where}: ${name} is in the bundle twice`);
    known.add(name);
  }
}

function removeApp() {
  table("modules").clear();
  table("endpoints").clear();
  table("modules_quickjs_bytecode").clear();
  table("modules_quickjs_version").clear();
  table("interpreter.flush").set(SINGLETON, ccf.jsonCompatibleToBuf(true));
}

function deployApp(bundle) {
  removeApp();
  for (const { name, module } of bundle.modules) table("modules").set(key(rooted(name)), ccf.strToBuf(module));
  for (const [url, verb, endpoint] of endpointsOf(bundle.metadata)) {
    const kept = { ...endpoint, js_module: rooted(endpoint.js_module) };
    writeJson("endpoints", key(`${verb.toUpperCase()} ${url}`), kept);
  }
}
