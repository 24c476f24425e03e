# Kernels of the avxvnni level exist in two encodings, and a machine runs one of them only. What can
# be told without running: the VEX objects hold no EVEX instruction, which CPUs with AVX-VNNI alone
# would not know; the EVEX objects hold no VEX dot product; and both have as many dot products.
#
#   cmake -DOBJDUMP=... -DOBJECTS=a.o|b.o|... -P avxvnni_encoding.cmake
string(REPLACE "|" ";" objects "${OBJECTS}")
set(pairs 0)
foreach(vex_object IN LISTS objects)
  if(NOT vex_object MATCHES "/x86_avxvnni\\.cpp\\.o")
    continue()
  endif()
  string(REPLACE "/x86_avxvnni." "/x86_avxvnni_evex." evex_object "${vex_object}")
  foreach(encoding IN ITEMS vex evex)
    execute_process(COMMAND ${OBJDUMP} -d --insn-width=16 ${${encoding}_object}
                    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    # In 64-bit code, 62 begins an EVEX instruction and nothing else; c4 begins VEX.
    string(REGEX MATCHALL ":\t62 " all_evex "${text}")
    string(REGEX MATCHALL ":\tc4 [^\n]*vpdp(busd|wssd)" vex_dots "${text}")
    string(REGEX MATCHALL ":\t62 [^\n]*vpdp(busd|wssd)" evex_dots "${text}")
    list(LENGTH all_evex ${encoding}_all_evex)
    list(LENGTH vex_dots ${encoding}_vex_dots)
    list(LENGTH evex_dots ${encoding}_evex_dots)
  endforeach()
  if(NOT vex_all_evex EQUAL 0)
    message(SEND_ERROR "${vex_object}: ${vex_all_evex} EVEX instructions")
  endif()
  if(NOT evex_vex_dots EQUAL 0)
    message(SEND_ERROR "${evex_object}: ${evex_vex_dots} dot products in the VEX encoding")
  endif()
  if(vex_vex_dots EQUAL 0 OR NOT vex_vex_dots EQUAL evex_evex_dots)
    message(SEND_ERROR "${vex_object} has ${vex_vex_dots} dot products, "
                       "${evex_object} ${evex_evex_dots}")
  endif()
  message(STATUS "${vex_object}: ${vex_vex_dots} dot products")
  math(EXPR pairs "${pairs} + 1")
endforeach()
if(pairs LESS 4)
  message(FATAL_ERROR "only ${pairs} families have avxvnni kernels: gemm_s8, depthwise_s8, "
                      "winograd_s8 and the ceiling should")
endif()
