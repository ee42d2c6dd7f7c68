# The flags that every target of ours is built with, and the helpers that the
# folders use.  style.md, 13, is the source of the warning list.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

option(COVIM_WERROR "warnings are errors" OFF)
set(COVIM_SANITIZE "" CACHE STRING
    "sanitizers for all of our code, e.g. address,undefined")
option(COVIM_COVERAGE "instrument for gcov" OFF)

add_library(covim_flags INTERFACE)
target_compile_definitions(covim_flags INTERFACE _GNU_SOURCE
                           COVIM_VERSION="${PROJECT_VERSION}")
target_include_directories(covim_flags INTERFACE ${CMAKE_SOURCE_DIR}
                           ${CMAKE_SOURCE_DIR}/include)
target_compile_options(covim_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
    -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wcast-align
    -Wcast-qual -Wwrite-strings -Wformat=2 -Wswitch-enum
    -Wimplicit-fallthrough -Wnull-dereference)
if(COVIM_WERROR)
    target_compile_options(covim_flags INTERFACE -Werror)
endif()
if(COVIM_SANITIZE)
    target_compile_options(covim_flags INTERFACE
        -fsanitize=${COVIM_SANITIZE} -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    target_link_options(covim_flags INTERFACE -fsanitize=${COVIM_SANITIZE})
endif()
if(COVIM_COVERAGE)
    target_compile_options(covim_flags INTERFACE --coverage)
    target_link_options(covim_flags INTERFACE --coverage)
endif()
if(CMAKE_BUILD_TYPE MATCHES "Rel")
    # Assertions are kept: they guard invariants, never input.
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO
           "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE
           "${CMAKE_C_FLAGS_RELEASE}")
    if(NOT COVIM_SANITIZE)
        target_compile_options(covim_flags INTERFACE
            -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
        target_link_options(covim_flags INTERFACE
            -Wl,-z,relro,-z,now,-z,noexecstack)
    endif()
endif()

# covim_library(NAME SOURCES… LINK targets…): a static library of one folder.
function(covim_library name)
    cmake_parse_arguments(arg "" "" "SOURCES;LINK;LINK_PRIVATE" ${ARGN})
    add_library(${name} STATIC ${arg_SOURCES})
    target_link_libraries(${name} PUBLIC covim_flags ${arg_LINK}
                          PRIVATE ${arg_LINK_PRIVATE})
endfunction()

# covim_program(NAME SOURCES… LINK targets…): a position-independent program.
function(covim_program name)
    cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE covim_flags ${arg_LINK})
    target_link_options(${name} PRIVATE -pie)
endfunction()

# covim_sources(OUT TARGET): the paths of its sources, to build them otherwise.
function(covim_sources out target)
    get_target_property(sources ${target} SOURCES)
    get_target_property(folder ${target} SOURCE_DIR)
    list(TRANSFORM sources PREPEND ${folder}/)
    set(${out} ${sources} PARENT_SCOPE)
endfunction()

# covim_test(AREA/NAME SOURCE LINK targets…): one cmocka program, one ctest.
function(covim_test test)
    cmake_parse_arguments(arg "" "SOURCE;TIMEOUT" "LINK;ARGS" ${ARGN})
    string(REPLACE "/" "_" target ${test})
    add_executable(${target} ${arg_SOURCE})
    target_link_libraries(${target} PRIVATE covim_flags PkgConfig::CMOCKA
                          ${arg_LINK})
    target_compile_definitions(${target} PRIVATE
        COVIM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_test(NAME ${test} COMMAND ${target} ${arg_ARGS})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    set_tests_properties(${test} PROPERTIES TIMEOUT ${arg_TIMEOUT}
                         SKIP_RETURN_CODE 77)
endfunction()

# covim_script_test(AREA/NAME SCRIPT TIMEOUT s …): a script as one ctest; it
# exits 77 when the machine lacks something, with the reason printed.
function(covim_script_test test)
    cmake_parse_arguments(arg "SERIAL" "SCRIPT;TIMEOUT" "ARGS;ENV" ${ARGN})
    add_test(NAME ${test} COMMAND ${arg_SCRIPT} ${arg_ARGS})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    set_tests_properties(${test} PROPERTIES TIMEOUT ${arg_TIMEOUT}
        SKIP_RETURN_CODE 77
        ENVIRONMENT "COVIM_BUILD=${CMAKE_BINARY_DIR};COVIM_NO_PORT_MAPPING=1;${arg_ENV}")
    if(arg_SERIAL)
        set_tests_properties(${test} PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()

# covim_fuzzer(NAME SOURCE LINK…): libFuzzer driver over tests/fuzz/corpus/NAME.
# The ctest form runs it for a short, bounded time.
function(covim_fuzzer name)
    if(NOT COVIM_FUZZ)
        return()
    endif()
    cmake_parse_arguments(arg "" "SOURCE" "LINK" ${ARGN})
    add_executable(fuzz_${name} ${arg_SOURCE})
    target_link_libraries(fuzz_${name} PRIVATE covim_flags ${arg_LINK})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/corpus/${name})
    if(NOT EXISTS ${corpus})
        set(corpus "")
    endif()
    add_test(NAME fuzz/${name} COMMAND fuzz_${name} -max_total_time=10
             -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0
             ${CMAKE_BINARY_DIR}/corpus/${name} ${corpus})
    set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT 120)
endfunction()
