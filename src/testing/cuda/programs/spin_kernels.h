// Kernels that only take time, as PTX: a driver compiles it for its card, the simulated driver
// knows the two by their names.
#pragma once

namespace egpu::testing::programs {

// spin_ns: every block waits until the card's nanosecond timer has advanced by the first parameter.
// On a real card the timer goes on while other processes have the card. spin_loop: a chain of as
// many dependent multiply-adds as the first parameter says: a fixed amount of work, whoever else
// uses the card. The second parameter is where a value is stored that never comes up, so that the
// work is not left out.
inline constexpr const char* kSpinKernels = R"(
.version 6.0
.target sm_52
.address_size 64

.visible .entry spin_ns(
    .param .u64 spin_ns_duration
)
{
    .reg .pred %p<2>;
    .reg .u64 %r<5>;

    ld.param.u64 %r1, [spin_ns_duration];
    mov.u64 %r2, %globaltimer;
NS_AGAIN:
    mov.u64 %r3, %globaltimer;
    sub.u64 %r4, %r3, %r2;
    setp.lt.u64 %p1, %r4, %r1;
    @%p1 bra NS_AGAIN;
    ret;
}

.visible .entry spin_loop(
    .param .u64 spin_loop_count,
    .param .u64 spin_loop_sink
)
{
    .reg .pred %p<3>;
    .reg .u32 %x<3>;
    .reg .u64 %r<4>;

    ld.param.u64 %r1, [spin_loop_count];
    ld.param.u64 %r2, [spin_loop_sink];
    mov.u32 %x1, %tid.x;
    mov.u64 %r3, 0;
LOOP_AGAIN:
    setp.ge.u64 %p1, %r3, %r1;
    @%p1 bra LOOP_END;
    mad.lo.u32 %x1, %x1, 1664525, 1013904223;
    add.u64 %r3, %r3, 1;
    bra LOOP_AGAIN;
LOOP_END:
    setp.ne.u32 %p2, %x1, 305419896;
    @%p2 bra DONE;
    cvta.to.global.u64 %r2, %r2;
    st.global.u32 [%r2], %x1;
DONE:
    ret;
}
)";

}  // namespace egpu::testing::programs
