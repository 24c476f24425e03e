# Every kernel family has portable kernels, and kernels of the architecture that is built for: one
# that lacks them would run portable code there, exact but slow, and nobody would be told. A family
# that another one stands in for may lack both.
set(alternative_families winograd_s8)  # of gemm_s8
file(GLOB families CONFIGURE_DEPENDS LIST_DIRECTORIES true csrc/kernels/*)
foreach(folder IN LISTS families)
  if(NOT IS_DIRECTORY ${folder})
    continue()
  endif()
  get_filename_component(family ${folder} NAME)
  if(family IN_LIST alternative_families)
    continue()
  endif()
  if(NOT EXISTS ${folder}/portable.cpp)
    message(FATAL_ERROR "kernel family '${family}' has no csrc/kernels/${family}/portable.cpp")
  endif()
  file(GLOB own CONFIGURE_DEPENDS ${folder}/${architecture}_*.cpp)
  if(NOT own)
    message(FATAL_ERROR "kernel family '${family}' has no kernels for this architecture: add a "
                        "csrc/kernels/${family}/${architecture}_<feature>.cpp")
  endif()
endforeach()
