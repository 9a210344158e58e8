console.log(require("left-pad")("7", 3, "0"), require("is-odd")(3));
console.log(require("marked").marked.parse("*it*").trim());
