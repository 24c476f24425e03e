# Writes OUTPUT, a header that defines ZEROPOINT_SOURCE_DIGEST: a digest of every source in
# CSRC that has a say in how weights are packed. The file stays untouched where nothing changed.
set(digests "")
foreach(folder base cpu kernels ops quant)
  file(GLOB_RECURSE sources RELATIVE ${CSRC} ${CSRC}/${folder}/*.h ${CSRC}/${folder}/*.cpp)
  list(SORT sources)
  foreach(source IN LISTS sources)
    file(SHA256 ${CSRC}/${source} digest)
    string(APPEND digests "${digest} ${source}\n")
  endforeach()
endforeach()
string(SHA256 digest "${digests}")
string(SUBSTRING ${digest} 0 32 digest)
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define ZEROPOINT_SOURCE_DIGEST \"@digest@\"\n" @ONLY)
