// The C interface of the kernel: the best instruction set of this processor, and threads.
#include <pthread.h>

#include "attention.h"

typedef int (*Kernel)(const Attention*);

extern "C" int attention_plain(const Attention*);
#if defined(__x86_64__)
extern "C" int attention_avx2(const Attention*);
extern "C" int attention_avx512(const Attention*);
extern "C" int attention_avx512_bf16(const Attention*);
#endif

static Kernel kernel_of(const char** name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
        if (__builtin_cpu_supports("avx512bf16")) return *name = "avx512_bf16", attention_avx512_bf16;
        return *name = "avx512", attention_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return *name = "avx2", attention_avx2;
#endif
    return *name = "plain", attention_plain;
}

struct Share {
    const Attention* job;
    Kernel kernel;
    int failed;
};

static void* run_share(void* data) {
    Share* share = (Share*)data;
    share->failed = share->kernel(share->job);
    return nullptr;
}

// What `struct Attention` it was built with.
extern "C" int samvlm_version() { return VERSION; }

// The instruction set that is used: avx512_bf16, avx512, avx2 or plain.
extern "C" const char* samvlm_instruction_set() {
    const char* name;
    kernel_of(&name);
    return name;
}

// Runs the job on up to `threads` threads, the caller's among them. Returns 0; 1: not enough memory.
extern "C" int samvlm_attention(const Attention* job, int threads) {
    const char* name;
    const int most = 256;
    Kernel kernel = kernel_of(&name);
    pthread_t others[most];
    Share shares[most];
    threads = threads < most ? threads : most;
    int started = 1, failed = 0;
    for (; started < threads; started++) {  // fewer threads than asked for do the same work
        shares[started] = {job, kernel, 0};
        if (pthread_create(&others[started], nullptr, run_share, &shares[started])) break;
    }
    shares[0] = {job, kernel, 0};
    run_share(&shares[0]);
    for (int i = 0; i < started; i++) {
        if (i) pthread_join(others[i], nullptr);
        failed |= shares[i].failed;
    }
    return failed;
}
