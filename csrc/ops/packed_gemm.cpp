#include "ops/packed_gemm.h"

#include <algorithm>

namespace zeropoint {

PackedGemm<act_t>::PackedGemm(const GemmSize& size, const OutputClamp& clamp,
                              const OpContext& context, const Pack& pack)
    : kernel_(gemm_s8::select({0, size.n, size.taps, size.depth}, context.isa)),
      n_(size.n),
      scratch_bytes_(round_up<size_t>(kernel_.scratch_bytes(size.n, size.taps, size.depth), 64)),
      packed_(
          context, kernel_.name, kernel_.packed_bytes(size.n, size.taps, size.depth),
          [&](void* packed) {
            pack([&](const gemm_s8::PackArgs& args) { kernel_.pack(args, packed); });
          },
          kernel_.used_bytes),
      clamp_(clamp) {}

void PackedGemm<act_t>::run(const Rows<act_t>& a, act_t* c, ptrdiff_t c_stride, int64_t m_begin,
                            int64_t m_end, int n_begin, int n_end, void* scratch,
                            const Residual& residual) const {
  gemm_s8::RunArgs args;
  args.c = c;
  args.clamp = clamp_;
  args.residual = residual;
  run(args, a, c_stride, m_begin, m_end, n_begin, n_end, scratch);
}

void PackedGemm<act_t>::run(const Rows<act_t>& a, int32_t* c, ptrdiff_t c_stride, int64_t m_begin,
                            int64_t m_end, int n_begin, int n_end, void* scratch) const {
  gemm_s8::RunArgs args;
  args.c_s32 = c;
  run(args, a, c_stride, m_begin, m_end, n_begin, n_end, scratch);
}

void PackedGemm<act_t>::run(gemm_s8::RunArgs& args, const Rows<act_t>& a, ptrdiff_t c_stride,
                            int64_t m_begin, int64_t m_end, int n_begin, int n_end,
                            void* scratch) const {
  args.a = a;
  args.packed = packed_.data();
  args.n = n_;
  args.c_stride = c_stride;
  args.m_begin = m_begin;
  args.m_end = m_end;
  args.n_begin = n_begin;
  args.n_end = n_end;
  args.scratch = scratch;
  kernel_.run(args);
}

PackedGemm<float>::PackedGemm(const GemmSize& size, const FloatClip& clip, const OpContext& context,
                              const Pack& pack)
    : kernel_(gemm_f32::select({0, size.n, size.taps, size.depth}, context.isa)),
      n_(size.n),
      packed_(context, kernel_.name, kernel_.packed_bytes(size.n, size.taps, size.depth),
              [&](void* packed) {
                pack([&](const gemm_f32::PackArgs& args) { kernel_.pack(args, packed); });
              }),
      clip_(clip) {}

void PackedGemm<float>::run(const Rows<float>& a, float* c, ptrdiff_t c_stride, int64_t m_begin,
                            int64_t m_end, int n_begin, int n_end, void*) const {
  gemm_f32::RunArgs args;
  args.a = a;
  args.packed = packed_.data();
  args.n = n_;
  args.c = c;
  args.c_stride = c_stride;
  args.lo = clip_.lo;
  args.hi = clip_.hi;
  args.m_begin = m_begin;
  args.m_end = m_end;
  args.n_begin = n_begin;
  args.n_end = n_end;
  kernel_.run(args);
}

namespace {

// Calls run(m_begin, m_end, n_begin, n_end, scratch) for the parts of C.
template <typename T, typename Run>
void split(const PackedGemm<T>& gemm, const Rows<T>& a, int64_t m, ThreadPool& pool, void* scratch,
           const Run& run) {
  constexpr int block = PackedGemm<T>::kColumnBlock;
  const int n = gemm.n(), mr = gemm.mr();
  const int64_t tiles = ceil_div<int64_t>(m, mr), blocks = ceil_div(n, block);
  // Few rows wait for the weights: a row costs as much as four.
  const int64_t row_macs = int64_t{a.taps} * a.depth * n * (m < 4 ? 4 : 1);
  const auto slot_scratch = [&](int slot) {
    return static_cast<char*>(scratch) + static_cast<size_t>(slot) * gemm.scratch_bytes();
  };
  // Each piece reads all the weights, or all the rows: it should have several tiles for them.
  constexpr int64_t kTiles = 4;
  if (tiles >= pool.size() || tiles >= blocks) {
    // Rows are divided evenly, not by tiles: kernels make tiles of nearly equal height.
    const int64_t grain = std::max<int64_t>(mr, kMacsPerPart / std::max<int64_t>(1, row_macs));
    pool.parallel_pieces(m, grain, kTiles * grain, [&](int64_t begin, int64_t end, int slot) {
      run(begin, end, 0, n, slot_scratch(slot));
    });
  } else {
    const int64_t block_macs = row_macs / std::max(1, n) * block * m;
    const int64_t grain = std::max<int64_t>(1, kMacsPerPart / std::max<int64_t>(1, block_macs));
    pool.parallel_pieces(blocks, grain, kTiles * grain, [&](int64_t begin, int64_t end, int slot) {
      run(int64_t{0}, m, static_cast<int>(begin) * block,
          std::min(n, static_cast<int>(end) * block), slot_scratch(slot));
    });
  }
}

}  // namespace

template <typename T, typename Y>
void run_parallel(const PackedGemm<T>& gemm, const Rows<T>& a, Y* c, ptrdiff_t c_stride, int64_t m,
                  ThreadPool& pool, void* scratch) {
  split(gemm, a, m, pool, scratch,
        [&](int64_t m_begin, int64_t m_end, int n_begin, int n_end, void* own) {
          gemm.run(a, c, c_stride, m_begin, m_end, n_begin, n_end, own);
        });
}

void run_parallel(const PackedGemm<act_t>& gemm, const Rows<act_t>& a, act_t* c, ptrdiff_t c_stride,
                  int64_t m, ThreadPool& pool, void* scratch, const Residual& residual) {
  split(gemm, a, m, pool, scratch,
        [&](int64_t m_begin, int64_t m_end, int n_begin, int n_end, void* own) {
          gemm.run(a, c, c_stride, m_begin, m_end, n_begin, n_end, own, residual);
        });
}

template void run_parallel(const PackedGemm<act_t>&, const Rows<act_t>&, act_t*, ptrdiff_t, int64_t,
                           ThreadPool&, void*);
template void run_parallel(const PackedGemm<act_t>&, const Rows<act_t>&, int32_t*, ptrdiff_t,
                           int64_t, ThreadPool&, void*);
template void run_parallel(const PackedGemm<float>&, const Rows<float>&, float*, ptrdiff_t, int64_t,
                           ThreadPool&, void*);

}  // namespace zeropoint
