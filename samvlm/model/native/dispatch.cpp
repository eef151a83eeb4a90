// The C interface of the kernels: the best instruction set of this processor, and threads.
#include <pthread.h>

#include "attention.h"
#include "decoder.h"

#define DECLARE(set)                        \
    int attention_##set(const Attention*);  \
    int decoder_##set(const Decoder*, long, long);

extern "C" {
DECLARE(plain)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(avx512_bf16)
#endif
}

struct Kernels {
    const char* name;
    int (*attention)(const Attention*);
    int (*decoder)(const Decoder*, long begin, long rows);
};

#define KERNELS(set) {#set, attention_##set, decoder_##set}

static Kernels best() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
        if (__builtin_cpu_supports("avx512bf16")) return KERNELS(avx512_bf16);
        return KERNELS(avx512);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KERNELS(avx2);
#endif
    return KERNELS(plain);
}

// What one thread does.
struct Share {
    const Attention* attention;  // all take tasks from one job
    const Decoder* decoder;      // or each takes its rows
    long begin, rows;
    int failed;
};

static void* run_share(void* data) {
    Share* share = (Share*)data;
    share->failed = share->attention ? best().attention(share->attention)
                                     : best().decoder(share->decoder, share->begin, share->rows);
    return nullptr;
}

constexpr int MOST = 256;  // threads

// Runs the shares, each on a thread of its own, the first on the caller's; it takes over what gets no thread.
static int run_shares(Share* shares, int count) {
    pthread_t others[MOST];
    bool started[MOST];
    int failed = 0;
    for (int i = 1; i < count; i++) started[i] = !pthread_create(&others[i], nullptr, run_share, &shares[i]);
    run_share(&shares[0]);
    for (int i = 1; i < count; i++) {
        if (started[i])
            pthread_join(others[i], nullptr);
        else
            run_share(&shares[i]);
    }
    for (int i = 0; i < count; i++) failed |= shares[i].failed;
    return failed;
}

// What `struct Attention` and `struct Decoder` it was built with.
extern "C" int samvlm_version() { return VERSION; }

// The instruction set that is used: avx512_bf16, avx512, avx2 or plain.
extern "C" const char* samvlm_instruction_set() { return best().name; }

// Runs the job on up to `threads` threads. Returns 0; 1: not enough memory.
extern "C" int samvlm_attention(const Attention* job, int threads) {
    Share shares[MOST];
    threads = threads < MOST ? threads : MOST;
    for (int i = 0; i < threads; i++) shares[i] = {job, nullptr, 0, 0, 0};
    return run_shares(shares, threads);
}

// Takes all rows one step further, on up to `threads` threads. Returns 0; 1: not enough memory.
extern "C" int samvlm_decode(const Decoder* job, int threads) {
    Share shares[MOST];
    long most = job->rows < MOST ? job->rows : MOST;
    threads = threads < most ? threads : (int)most;
    for (long i = 0; i < threads; i++) {
        long begin = job->rows * i / threads;
        shares[i] = {nullptr, job, begin, job->rows * (i + 1) / threads - begin, 0};
    }
    return run_shares(shares, threads);
}
