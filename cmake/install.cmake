# `cmake --install` gives a C or C++ program what it needs: the headers, the static library, and a
# package that find_package(zeropoint) finds, with the target zeropoint::zeropoint.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/zeropoint)
install(FILES csrc/include/zeropoint.h csrc/include/zeropoint.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(TARGETS zeropoint_core EXPORT zeropoint_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT library)
install(EXPORT zeropoint_targets NAMESPACE zeropoint:: DESTINATION ${package_dir} COMPONENT library)
configure_package_config_file(cmake/zeropoint-config.cmake.in zeropoint-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(zeropoint-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/zeropoint-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/zeropoint-config-version.cmake
        DESTINATION ${package_dir} COMPONENT library)
