// CPU time of the calling thread, so that runs beside each other can be compared.
#pragma once

namespace egpu::simulate {

// Seconds since some moment.
double thread_cpu_seconds();

}  // namespace egpu::simulate
