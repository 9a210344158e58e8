const path = require("path");
const { marked } = require("marked");
const semver = require("semver");
console.log(marked.parse("# Title").trim(), semver.inc("1.2.3", "minor"));
// A module's own test folder may hold what an application reads.
const here = path.dirname(require.resolve("resolve/package.json"));
console.log(require("fs").existsSync(path.join(here, "test", "resolver.js")));
console.log(Object.keys(require("mime-db")).length);
