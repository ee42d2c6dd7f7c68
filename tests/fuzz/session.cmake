covim_fuzzer(control SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_control.c
             LINK covim_session)
covim_fuzzer(frames SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_frames.c
             LINK covim_session)
covim_fuzzer(admission SOURCE ${CMAKE_CURRENT_LIST_DIR}/fuzz_admission.c
             LINK covim_session)
