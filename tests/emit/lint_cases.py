"""C++ that the lint must find fault with, and the nearest C++ that it must not."""

from __future__ import annotations

# One fault each (rule, C++, what is said) and its nearest innocent relative.
FAULTS = {
    "new": ("dynamic-memory", "inline int f() { int *p = new int(1); return *p; }", "new"),
    "delete": ("dynamic-memory", "inline void f(int *p) { delete p; }", "delete"),
    "malloc": ("dynamic-memory", "inline void *f() { return malloc(8); }", r"malloc\(\)"),
    "vector": (
        "dynamic-memory",
        "template <class T> struct S { std::vector<T> kept; };",
        "'kept' is a ",
    ),
    "string": ("dynamic-memory", "inline void f(const std::string &name) { (void)name; }", "'name'"),
    "recursion": (
        "recursion",
        "template <class T> T f(T x) { return x > 0 ? f<T>(x - 1) : x; }",
        r"f\(\) comes to",
    ),
    "mutual": (
        "recursion",
        "int g(int); inline int f(int x) { return g(x); } inline int g(int x) { return f(x); }",
        "f",
    ),
    "while": ("unbounded-loop", "inline int f(int x) { while (x > 3) { x /= 2; } return x; }", "while"),
    "do": ("unbounded-loop", "inline int f(int x) { do { x /= 2; } while (x > 3); return x; }", "do"),
    "for ever": ("unbounded-loop", "inline void f() { for (;;) { break; } }", "a for without"),
    "bound": (
        "unbounded-loop",
        "inline void f(int n, int *x) { for (int i = 0; i < n; i++) { x[i] = 0; } }",
        "bound of 'i'",
    ),
    "start": (
        "unbounded-loop",
        "inline void f(int n, int *x) { for (int i = n; i < 9; i++) { x[i] = 0; } }",
        "starts at",
    ),
    "step": (
        "unbounded-loop",
        "inline void f(int n, int *x) { for (int i = 0; i < 9; i += n) { x[i] = 0; } }",
        "step of 'i'",
    ),
    "changed": (
        "unbounded-loop",
        "inline void f(int *x) { for (int i = 0; i < 9; i++) { x[i] = 0; i -= x[2]; } }",
        "changes 'i'",
    ),
    "range": ("unbounded-loop", "template <class T> void f(T &x) { for (auto &e : x) { e = 0; } }", "range"),
    "dependent bound": (
        "unbounded-loop",
        "template <class C> void f(C c) { for (unsigned i = 0; i < c.n; i++) { c.x[i] = 0; } }",
        "bound of 'i'",
    ),
    "converted bound": (
        "unbounded-loop",
        "template <class C> void f(C c) { for (int i = 0; i < int(c.n); i++) { c.x[i] = 0; } }",
        "bound of 'i'",
    ),
    "virtual": ("virtual", "struct S { virtual int f() { return 1; } };", r"f\(\) is virtual"),
    "virtual destructor": ("virtual", "struct S { virtual ~S() {} };", "is virtual"),
    "virtual base": ("virtual", "struct S {}; struct T : virtual S {};", "virtual base"),
    "vla": ("vla", "inline int f(int n) { int x[n]; x[0] = n; return x[0]; }", "'x' has a length"),
    "goto": ("goto", "inline int f(int x) { again: x--; if (x > 3) { goto again; } return x; }", "goto"),
    "pointer": ("function-pointer", "inline int f(int (*g)(int)) { return g(1); }", "'g' is a int"),
    "throw": ("exception", "inline void f() { throw 1; }", "throw"),
    "try": ("exception", "inline void f() { try { } catch (...) { } }", "try"),
    "typeid": (
        "exception",
        "template <class T> const void *f(const T &x) { return &typeid(x); }",
        "typeid",
    ),
    "double": ("float", "inline int f(int x) { double y = x; return int(y); }", "'y' is a double"),
    "literal": ("float", "inline int f(int x) { return int(x * 0.5f); }", "an expression is a float"),
    "libm": (
        "float",
        "inline int f(int x) { return int(std::sqrt(x)); }",
        r"sqrt\(\) of the mathematical library",
    ),
    "state": ("static-state", "inline int f() { static int calls = 0; return calls++; }", "'calls' keeps"),
    "global": ("static-state", "static int counter; inline void f() { counter++; }", "'counter' keeps"),
    "printf": ("system-call", 'inline void f(int x) { printf("%d", x); }', r"printf\(\) of stdio.h"),
    "cout": ("system-call", "template <class T> void f(T x) { std::cout << x; }", "cout"),
    "exit": ("system-call", "inline void f() { exit(1); }", r"exit\(\)"),
    "stray": (
        "pragma",
        "struct S {\n#pragma HLS AGGREGATE variable=x\nint x; };",
        "not inside of a function",
    ),
    "directive": ("pragma", "inline void f() {\n#pragma HLS PIPELIN II=1\n}", "no directive PIPELIN"),
    "vendor": ("pragma", "inline void f() {\n#pragma HSL PIPELINE II=1\n}", "not one of HLS"),
    "option": ("pragma", "inline void f() {\n#pragma HLS PIPELINE I=1\n}", "no option 'I=1'"),
    "flag": ("pragma", "inline void f() {\n#pragma HLS INLINE on\n}", "no option 'on'"),
    "needed": ("pragma", "inline void f() {\n#pragma HLS STREAM depth=4\n}", "it needs variable="),
    "scope": (
        "pragma",
        "inline void f(int x[4]) {\n#pragma HLS ARRAY_PARTITION variable=y complete\n}",
        "no variable 'y'",
    ),
    "order": (
        "pragma",
        "inline void f() {\n#pragma HLS STREAM variable=s depth=4\nhls::stream<int> s; }",
        "no variable 's'",
    ),
    "block": (
        "pragma",
        "inline void f() { if (true) { int x[4]; x[0] = 1; }\n#pragma HLS ARRAY_PARTITION variable=x complete\n}",
        "no variable 'x'",
    ),
    "integer": (
        "pragma",
        "inline void f(int n, int x[4]) {\n#pragma HLS ARRAY_PARTITION variable=x block factor=n\n}",
        "factor=n",
    ),
    "zero": ("pragma", "inline void f() {\n#pragma HLS PIPELINE II=0\n}", "II=0 is less than 1"),
    "factor": (
        "pragma",
        "inline void f(int x[4]) {\n#pragma HLS ARRAY_PARTITION variable=x cyclic\n}",
        "factor= goes with",
    ),
    "dim": (
        "pragma",
        "inline void f(int x[4][4]) {\n#pragma HLS ARRAY_PARTITION variable=x complete dim=3\n}",
        "dim=3 of an",
    ),
    "template": (
        "pragma",
        "template <class C> void f() {\n#pragma HLS PIPELINE II=D::n\n}",
        "II=D::n is not an integer",
    ),
    "unroll": ("pragma", "inline void f() {\n#pragma HLS UNROLL\n}", "body of a loop"),
    "inline": (
        "pragma",
        "inline void f() { for (int i = 0; i < 4; i++) {\n#pragma HLS INLINE\n} }",
        "body of a function",
    ),
    "promise": (
        "pragma",
        "inline void f(int x[4]) {\n#pragma HLS DEPENDENCE variable=x inter false\nx[0] = 1; }",
        "state the distance",
    ),
    "word": (
        "pragma",
        "inline void f(int x[4]) {\n#pragma HLS BIND_STORAGE variable=x type=ram_3p\n}",
        "type=ram_3p is none of",
    ),
}
INNOCENT = {
    "placement": "inline void f(int x[4]) { for (int i = 0; i < 4; i++) { x[i] = 1; } }",
    "not synthesised": '#ifndef __SYNTHESIS__\ninline void f(int *p) { while (*p) { printf("x"); delete p; } }\n#endif',
    "comment": "// while (true) { new int; }\n// #pragma HLS NONSENSE\ninline void f() {}",
    "template recursion": "template <int N> int f(int x) { return N > 0 ? f<(N > 0 ? N - 1 : 0)>(x) : x; }",
    "overload": "inline int f(int x) { return x; } inline int f(int x, int y) { return f(x) + f(y); }",
    "bounds": (
        "template <class C, int N> void f(int x[N]) {\n"
        "    static const unsigned n = C::n / 2; const int last = N - 1;\n"
        "    for (unsigned i = 0; i < n && x[0] > 0; i++) { x[i] = 1; }\n"
        "    for (int i = last; i >= 0; i -= 2) { x[i] = 2; }\n"
        "    for (int i = 0; i + 1 < (N > 4 ? 4 : N); ++i) { x[i] = x[i + 1]; }\n"
        "}"
    ),
    "converted bound": (
        "template <class C> void f(int *x) { for (int i = 0; i < int(C::n) - 1; i++) { x[i] = 1; } }"
    ),
    "constexpr bound": (
        "constexpr int half(int n) { return n / 2; }\n"
        "template <int N> void f(int x[N]) { for (int i = 0; i < half(N); i++) { x[i] = 1; } }"
    ),
    "array range": "inline void f() { int x[4]; for (auto &e : x) { e = 0; } (void)x; }",
    "plain method": "struct S { int f() { return 1; } }; struct T : S {};",
    "constant length": "template <int N> int f() { const int n = N + 1; int x[n]; x[0] = n; return x[0]; }",
    "label": "inline void f(int *x) { Loop: for (int i = 0; i < 4; i++) { x[i] = 1; } }",
    "functor": "template <class G> int f(G g) { return g(1); }",
    "reference": "inline int f(int (&x)[4], const int *y) { return x[0] + y[0]; }",
    "static cast": "template <class T> int f(T x) { return static_cast<int>(x); }",
    "integers": "inline int f(ap_fixed<9, 9> x) { return (x * 2 + 1).to_int(); }",
    "constants": (
        "static const int table[2] = {1, 2};\n"
        "inline int f(int i) { static const int two = 2; return table[i] * two; }"
    ),
    "streams": (
        'inline int f() { hls::stream<int> s("s");\n#pragma HLS STREAM variable=s depth=4\n'
        "s.write(1); return s.read(); }"
    ),
    "pragmas": (
        "template <class C, class T, int N> void f(T x[N], T y[N][2]) {\n"
        "    #pragma HLS ARRAY_PARTITION variable=x complete\n"
        "    #pragma HLS ARRAY_RESHAPE variable = y block factor=N dim = 2\n"
        "    #pragma HLS INLINE OFF\n"
        "    #pragma HLS ALLOCATION operation instances=mul limit=C::mult::limit\n"
        "    #pragma HLS function_instantiate variable=x,y\n"
        "    T z[N];\n"
        "    #pragma HLS ARRAY_PARTITION variable=z type=cyclic factor=2\n"
        "    #pragma HLS BIND_STORAGE variable=z type=ram_2p impl=lutram\n"
        "Loop:\n"
        "    for (int i = 0; i < N; i++) {\n"
        "        #pragma HLS PIPELINE II=C::reuse_factor rewind\n"
        "        #pragma HLS DEPENDENCE variable=z inter RAW distance=N true\n"
        "        z[i] = x[i];\n"
        "        for (int j = 0; j < 2; j++) {\n"
        "            #pragma HLS UNROLL\n"
        "            y[i][j] = z[i];\n"
        "        }\n"
        "    }\n"
        "}"
    ),
}
# Templates that are innocent until something is put into them: rule, templates, their use, what is said.
INSTANCES = {
    "bound": (
        "unbounded-loop",
        (
            "struct C { static int n; }; int C::n = 3;\n"
            "template <class T> void g(int *x) { for (int i = 0; i < T::n; i++) { x[i] = 0; } }\n"
        ),
        "inline void top(int *x) { g<C>(x); }",
        "bound of 'i'",
    ),
    "recursion": (
        "recursion",
        "template <class T> int g(int x) { return T::f(x); }\n",
        "struct P { static int f(int x) { return g<P>(x - 1); } };\ninline int top(int x) { return P::f(x); }",
        "comes to call itself",
    ),
    "float": (
        "float",
        "template <class T> T g(T x) { T twice = x + x; return twice; }",
        "inline int top(int x) { return int(g<double>(x)); }",
        "'twice' is a double",
    ),
    "pointer": (
        "function-pointer",
        "template <class G> int g(G op) { return op(1); }\ninline int plus(int x) { return x + 1; }",
        "inline int top() { return g(plus); }",
        "'op' is a int",
    ),
    "member": (
        "pragma",
        (
            "struct C { static const unsigned reuse_factor = 1; };\n"
            "template <class T> void g(int *x) {\n#pragma HLS PIPELINE II=T::reuse_facto\nx[0] = 1; }\n"
        ),
        "inline void top(int *x) { g<C>(x); }",
        "II=T::reuse_facto is not an integer",
    ),
    "rank": (
        "pragma",
        "template <class T> void g() { T x;\n#pragma HLS ARRAY_PARTITION variable=x complete dim=2\n(void)x; }\n",
        "inline void top() { g<int[4]>(); }",
        "dim=2 of an array of 1",
    ),
    "inherited": (
        "",
        (
            "struct B { static const unsigned reuse_factor = 1; }; struct C : B { typedef B mult; };\n"
            "template <class T> void g(int *x) {\n#pragma HLS PIPELINE II=T::reuse_factor\n"
            "#pragma HLS ALLOCATION operation instances=mul limit=T::mult::reuse_factor\nx[0] = 1; }\n"
        ),
        "inline void top(int *x) { g<C>(x); }",
        "",
    ),
    "smaller instance": (
        "",
        (
            "template <int N> struct S { static int f(int x) { return x + S<N - 1>::f(x); } };\n"
            "template <> struct S<0> { static int f(int x) { return x; } };"
        ),
        "inline int top(int x) { return S<3>::f(x); }",
        "",
    ),
}
