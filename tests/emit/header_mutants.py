"""Changes to our C++ headers that their unit tests must see: what stands there once, and what takes its place."""

from __future__ import annotations

MUTANTS: dict[str, list[tuple[str, str]]] = {
    "hwq_argmax": [
        ("data[first + k] > best", "data[first + k] >= best"),
        ("unsigned k = 1;", "unsigned k = 2;"),
        ("res_T index = 0;", "res_T index = 1;"),
        ("(data, i * CONFIG_T::n_chan)", "(data, i)"),
        ("CONFIG_T>(in, 0);", "CONFIG_T>(in, 1);"),
    ],
    "hwq_concat": [
        ("a[i * CONFIG_T::first_inner + j]", "a[i * CONFIG_T::second_inner + j]"),
        ("b[i * CONFIG_T::second_inner + j]", "b[j]"),
        ("value_T(in_b[j < a_T::size ? 0 : j - a_T::size])", "value_T(in_b[j < a_T::size ? 0 : j - 1])"),
        ("out[j] = j < a_T::size ?", "out[j] = j <= a_T::size ?"),
        ("(b, res);", "(b, res); hwq_concat_pass<b_T, res_T>(b, res);"),
    ],
    "hwq_depth_to_space": [
        (
            "(row * CONFIG_T::block + column) * CONFIG_T::depth + c",
            "(column * CONFIG_T::block + row) * CONFIG_T::depth + c",
        ),
        (
            "(c * CONFIG_T::block + row) * CONFIG_T::block + column",
            "(c * CONFIG_T::block + column) * CONFIG_T::block + row",
        ),
        ("(h / CONFIG_T::block) * CONFIG_T::width", "h * CONFIG_T::width"),
        ("if (a == 0 && b == 0)", "if (b == 0)"),
        ("hwq_depth_to_space_channel<CONFIG_T>(a, b, c)", "hwq_depth_to_space_channel<CONFIG_T>(b, a, c)"),
    ],
    "hwq_depthwise": [
        (
            "data, row, column, i, j, c) *\n                                 weights[(i",
            "data, row, column, i, j, c) *\n                                 weights[(j",
        ),
        (
            "(row * CONFIG_T::out_width + column) * CONFIG_T::n_chan + c",
            "(column * CONFIG_T::out_width + row) * CONFIG_T::n_chan + c",
        ),
        ("window[i * CONFIG_T::dilation_height]", "window[i]"),
        ("[j * CONFIG_T::dilation_width][c]", "[j * CONFIG_T::dilation_width][0]"),
        ("column < span::width", "column + 1 < span::width"),
    ],
    "hwq_global_sum": [
        ("i3 * CONFIG_T::stride3] += data[at++]", "i3 * CONFIG_T::stride3] += data[at]"),
        (
            "i1 * CONFIG_T::stride1 + i2 * CONFIG_T::stride2;",
            "i1 * CONFIG_T::stride2 + i2 * CONFIG_T::stride1;",
        ),
        ("out[c] = sums[i * res_T::size + c]", "out[c] = sums[c]"),
        ("+= in[i3]", "+= in[0]"),
        ("res[i] = sums[i]", "res[i] = sums[0]"),
    ],
    "hwq_join": [
        ("res_T(a * b)", "res_T(a + b)"),
        ("a * mult0[k] + b * mult1[k] + add[k]", "a * mult0[k] + b * mult1[k]"),
        ("c % CONFIG_T::n_chan", "0"),
        ("in_b[c * CONFIG_T::b3]", "in_b[0]"),
        ("a_whole[CONFIG_T::a_in_step ? 0 : a_at]", "a_whole[0]"),
        ("b_whole[CONFIG_T::b_in_step ? 0 : i] = b.read()", "b_whole[0] = b.read()"),
    ],
    "hwq_lut": [
        ("x - CONFIG_T::lo", "x - CONFIG_T::lo - 1"),
        ("values[c * CONFIG_T::n_entries + unsigned(index)]", "values[unsigned(index)]"),
        ("x >= breaks[c * CONFIG_T::n_breaks + k]", "x > breaks[c * CONFIG_T::n_breaks + k]"),
        (
            "values[c * (CONFIG_T::n_breaks + 1) + unsigned(count)]",
            "values[c * CONFIG_T::n_breaks + unsigned(count)]",
        ),
        (
            "hwq_table_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan",
            "hwq_table_one<data_T, res_T, CONFIG_T>(data[i], 0",
        ),
        ("in[j], (i * data_T::size + j) % CONFIG_T::n_chan, breaks", "in[j], j % CONFIG_T::n_chan, breaks"),
    ],
    "hwq_matmul": [
        ("a[(n * CONFIG_T::rows + i) * CONFIG_T::terms + k]", "a[i * CONFIG_T::terms + k]"),
        (
            "b[(n * CONFIG_T::terms + k) * CONFIG_T::columns + j]",
            "b[(n * CONFIG_T::terms + j) * CONFIG_T::columns + k]",
        ),
        ("matrix[k][j] = in[j]", "matrix[k][j] = in[0]"),
        ("total += in[k] * matrix[k][j]", "total = in[k] * matrix[k][j]"),
    ],
    "hwq_pad": [
        ("moved / every >= size", "moved / every > size"),
        ("moved % every != 0", "false"),
        ("2 * (size - 1) - back", "2 * size - 1 - back"),
        ("moved < size ? moved : size - 1", "moved < size ? moved : 0"),
        ("in[i3 >= 0 ? i3 : 0]", "in[0]"),
        ("in = kept[whole ? from : 0]", "in = kept[0]"),
    ],
    "hwq_pool": [
        ("x > total", "x < total"),
        ("first ? res_T(x) : res_T(total + x)", "res_T(total + x)"),
        ("total * row_factor[row] * column_factor[column]", "total * row_factor[row]"),
        (
            "total * row_factor[out_row] * column_factor[out_column]",
            "total * row_factor[out_column] * column_factor[out_row]",
        ),
        ("(column + 1 - span::columns) / CONFIG_T::stride_width", "column + 1 - span::columns"),
        ("[j * CONFIG_T::dilation_width][c], i + j == 0", "[j * CONFIG_T::dilation_width][c], i == 0"),
    ],
    "hwq_requant": [
        ("- (rounds ? 1 : 0))) - 1 : 0", "- (rounds ? 1 : 0))) : 0"),
        ("+ wide_T(below_half) + odd", "+ wide_T(below_half)"),
        ("CONFIG_T::half_even && CONFIG_T::shift > 0", "CONFIG_T::half_even && CONFIG_T::shift > 1"),
        ("return res_T(CONFIG_T::lo)", "return res_T(CONFIG_T::hi)"),
        ("rounded > CONFIG_T::hi", "rounded > CONFIG_T::hi + 1"),
        ("if (x < pivot[c])", "if (x <= pivot[c])"),
        ("x * low_mult[c] + low_add[c]", "x * low_mult[c] + add[c]"),
        (
            "in[j], (i * data_T::size + j) % CONFIG_T::n_chan, mult, add, low_mult",
            "in[j], j % CONFIG_T::n_chan, mult, add, low_mult",
        ),
    ],
    "hwq_slice": [
        ("at >= CONFIG_T::start &&", "at > CONFIG_T::start &&"),
        ("/ CONFIG_T::step < CONFIG_T::count", "/ CONFIG_T::step <= CONFIG_T::count"),
        ("CONFIG_T::start + k * CONFIG_T::step", "CONFIG_T::start + k"),
        ("CONFIG_T::start + c * CONFIG_T::step : c", "CONFIG_T::start + c : c"),
        ("last || hwq_slice_takes<CONFIG_T>(k)", "last || hwq_slice_takes<CONFIG_T>(j)"),
    ],
    "hwq_testbench": [
        ("got.size() != want.size()", "got.size() > want.size()"),
        ("got[i] != want[i]", "got[i] > want[i]"),
        ("if (differences_ > 0)", "if (differences_ > 1)"),
        ("row.size() != words ||", "row.size() < words ||"),
        ("return !rows.empty()", "return true"),
        ("options.shipped ? generated : files[0]->size()", "files[0]->size()"),
        ("word.to_int64() == value", "true"),
        ("return port.empty()", "return true"),
        ("1099511628211ULL", "1099511628213ULL"),
        ("!std::isnan(words[0]) &&", ""),
        ("pixel[j].to_int64()", "pixel[0].to_int64()"),
        ('options.shipped && arg != "--data"', "options.shipped"),
    ],
    "hwq_threshold": [
        ("x >= t", "x > t"),
        ("t[c * CONFIG_T::n_steps + k]", "t[k]"),
        ("CONFIG_T::base + CONFIG_T::step * count", "CONFIG_T::base + count"),
        ("CONFIG_T>(data[i], i % CONFIG_T::n_chan", "CONFIG_T>(data[i], 0"),
        ("out[first + j]", "out[j]"),
        ("(i * data_T::size + j) % CONFIG_T::n_chan", "j % CONFIG_T::n_chan"),
        ("first + data_T::size == res_T::size", "true"),
    ],
    "hwq_transpose": [
        ("i2 * CONFIG_T::from2 +\n", "i2 * CONFIG_T::from1 +\n"),
        ("words[CONFIG_T::last_stays ? 0 : i * data_T::size + j]", "words[CONFIG_T::last_stays ? 0 : j]"),
        ("first + c * CONFIG_T::from3", "first + c"),
        ("first / data_T::size : 0", "0 : 0"),
    ],
    "hwq_upsample": [
        ("(h / CONFIG_T::rows) * CONFIG_T::width", "h * CONFIG_T::width"),
        ("w / CONFIG_T::columns", "w % CONFIG_T::width"),
        ("if (a == 0 && b == 0)", "if (b == 0)"),
        ("(in[c])", "(in[0])"),
    ],
    "hwq_window": [
        ("(CONFIG_T::kernel_height - 1) * CONFIG_T::dilation_height", "(CONFIG_T::kernel_height - 1)"),
        ("h >= 0 && h < int", "h > 0 && h < int"),
        ("row >= CONFIG_T::pad_top", "row > CONFIG_T::pad_top"),
        (
            "column < CONFIG_T::pad_left + CONFIG_T::in_width",
            "column <= CONFIG_T::pad_left + CONFIG_T::in_width",
        ),
        ("top % CONFIG_T::stride_height == 0", "true"),
        ("left / CONFIG_T::stride_width < CONFIG_T::out_width", "true"),
        ("window[i][j][c] = window[i][j + 1][c]", "window[i][j][c] = window[i][j][c]"),
        (
            "lines[i][column][c] = window[i + 1][span::columns - 1][c]",
            "lines[i][column][c] = window[i][span::columns - 1][c]",
        ),
        ("typename data_T::value_type(CONFIG_T::fill)", "0"),
    ],
}
