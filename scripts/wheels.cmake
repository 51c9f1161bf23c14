# For the rclpy wheels: they export generator targets with include paths of the machine that built them.
# cmake -DCMAKE_PROJECT_INCLUDE=…/scripts/wheels.cmake
function(drop_foreign_include_paths)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    if(target MATCHES "__rosidl_generator_py$")
      set_property(TARGET ${target} PROPERTY INTERFACE_INCLUDE_DIRECTORIES "")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL drop_foreign_include_paths)
