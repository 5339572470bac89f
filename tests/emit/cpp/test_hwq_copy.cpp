#include "hwq_copy.h"
#include "check.h"

using namespace check;

// Every copy is the row, whatever its place; 7 is the most that a layer can ask for.
int main() {
    typedef UInt<4> from;
    typedef Int<6> to;
    const unsigned size = 5;
    const std::vector<from> data = typed<from>(range(3, 7));
    std::vector<std::vector<to>> c(7, std::vector<to>(size));
    const auto clear = [&] {
        for (auto &copy : c) {
            copy.assign(size, to(-1));
        }
    };
    const auto holds = [&](unsigned count) {
        for (unsigned i = 0; i < c.size(); i++) {
            CHECK_EQUAL(untyped(c[i]), i < count ? range(3, 7) : Row(size, -1), "copy " << i << " of " << count);
        }
        clear();
    };
    to *const p[] = {c[0].data(), c[1].data(), c[2].data(), c[3].data(), c[4].data(), c[5].data(), c[6].data()};
    clear();
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1]);
    holds(2);
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1], p[2]);
    holds(3);
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1], p[2], p[3]);
    holds(4);
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1], p[2], p[3], p[4]);
    holds(5);
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1], p[2], p[3], p[4], p[5]);
    holds(6);
    nnet::hwq_copy<from, to, size>(data.data(), p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
    holds(7);
    return finish();
}
