// The program that the smoke test runs inside the container: asks CUDA's driver API, nothing else.
#pragma once

namespace egpu::doctor {

// The name of the command; it is not listed in the help.
inline constexpr const char* kCudaProbeCommand = "cuda-probe";

// Prints one line of JSON: {"library":"…"|"", "error":"…", "cuInit":0, "cudaVersion":11000,
// "devices":[{"name":"Tesla T4","memoryMiB":15109,"alloc":0}]}. Codes are CUresult; "alloc": of
// making a context and allocating 1 MiB in it, -1 where this library cannot. Exit status 0 when
// cuInit succeeded.
int run_cuda_probe(int argc, char** argv);

}  // namespace egpu::doctor
