local ffi = require("ffi")
ffi.cdef("const char *sodium_version_string(void);")
print(ffi.string(ffi.load("sodium").sodium_version_string()))
