/*
 * tsdb/vectors.h - functions compiled twice: for processors with AVX2 (or Haswell's bit instructions), and for all
 *
 * The loader picks one when the program starts. ThreadSanitizer is not ready yet at that time, so under it there is
 * only the version for all.
 */
#pragma once

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define VECTORS_UNDER_TSAN
#endif
#endif

#if defined(__SANITIZE_THREAD__) || defined(VECTORS_UNDER_TSAN)
#define WITH_VECTORS
#define WITH_BITS
#else
#define WITH_VECTORS __attribute__((target_clones("avx2", "default")))
#define WITH_BITS    __attribute__((target_clones("arch=x86-64-v3", "default"))) /* not for floats: it has fused ones */
#endif
