// maxpool
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %1 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg6: index, %arg7: index, %arg8: index, %arg9: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>) -> tensor<1x4x11x11xf32>
    %2 = "tensor.empty"() : () -> tensor<1x4x5x5xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %4 = "tensor.empty"() : () -> tensor<3x3xf32>
    %5 = "linalg.pooling_nchw_max"(%1, %4, %3) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %6 = "arith.maximumf"(%arg3, %arg1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%6) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x11x11xf32>, tensor<3x3xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    "func.return"(%5) : (tensor<1x4x5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// maxpoolceil
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %1 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 2, 2>, static_low = array<i64: 0, 0, 0, 0>}> ({
    ^bb0(%arg6: index, %arg7: index, %arg8: index, %arg9: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>) -> tensor<1x4x11x11xf32>
    %2 = "tensor.empty"() : () -> tensor<1x4x5x5xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %4 = "tensor.empty"() : () -> tensor<2x2xf32>
    %5 = "linalg.pooling_nchw_max"(%1, %4, %3) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %6 = "arith.maximumf"(%arg3, %arg1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%6) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x11x11xf32>, tensor<2x2xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    "func.return"(%5) : (tensor<1x4x5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// avgpool
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 9.000000e+00 : f32}> : () -> f32
    %2 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg8: index, %arg9: index, %arg10: index, %arg11: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>) -> tensor<1x4x11x11xf32>
    %3 = "tensor.empty"() : () -> tensor<1x4x5x5xf32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %5 = "tensor.empty"() : () -> tensor<3x3xf32>
    %6 = "linalg.pooling_nchw_sum"(%2, %5, %4) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg3: f32, %arg4: f32, %arg5: f32):
      %9 = "arith.addf"(%arg5, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%9) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x11x11xf32>, tensor<3x3xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %7 = "linalg.generic"(%6, %3) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %8 = "arith.divf"(%arg1, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<1x4x5x5xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    "func.return"(%7) : (tensor<1x4x5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// avgpool_nopad
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 1 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 2 : i64}> : () -> i64
    %3 = "arith.constant"() <{value = 9 : i64}> : () -> i64
    %4 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %5 = "arith.constant"() <{value = 10 : i64}> : () -> i64
    %6 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg8: index, %arg9: index, %arg10: index, %arg11: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>) -> tensor<1x4x11x11xf32>
    %7 = "tensor.empty"() : () -> tensor<1x4x5x5xf32>
    %8 = "linalg.fill"(%0, %7) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %9 = "tensor.empty"() : () -> tensor<3x3xf32>
    %10 = "linalg.pooling_nchw_sum"(%6, %9, %8) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg3: f32, %arg4: f32, %arg5: f32):
      %39 = "arith.addf"(%arg5, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%39) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x11x11xf32>, tensor<3x3xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    %11 = "linalg.generic"(%10, %7) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %12 = "linalg.index"() <{dim = 2 : i64}> : () -> index
      %13 = "arith.index_cast"(%12) : (index) -> i64
      %14 = "arith.muli"(%13, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %15 = "arith.subi"(%14, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %16 = "arith.addi"(%14, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %17 = "arith.minsi"(%16, %5) : (i64, i64) -> i64
      %18 = "arith.minsi"(%17, %3) : (i64, i64) -> i64
      %19 = "arith.subi"(%1, %14) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %20 = "arith.maxsi"(%19, %4) : (i64, i64) -> i64
      %21 = "arith.subi"(%18, %15) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %22 = "arith.subi"(%21, %20) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %23 = "arith.maxsi"(%22, %4) : (i64, i64) -> i64
      %24 = "linalg.index"() <{dim = 3 : i64}> : () -> index
      %25 = "arith.index_cast"(%24) : (index) -> i64
      %26 = "arith.muli"(%25, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %27 = "arith.subi"(%26, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %28 = "arith.addi"(%26, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %29 = "arith.minsi"(%28, %5) : (i64, i64) -> i64
      %30 = "arith.minsi"(%29, %3) : (i64, i64) -> i64
      %31 = "arith.subi"(%1, %26) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %32 = "arith.maxsi"(%31, %4) : (i64, i64) -> i64
      %33 = "arith.subi"(%30, %27) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %34 = "arith.subi"(%33, %32) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %35 = "arith.maxsi"(%34, %4) : (i64, i64) -> i64
      %36 = "arith.muli"(%23, %35) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %37 = "arith.sitofp"(%36) : (i64) -> f32
      %38 = "arith.divf"(%arg1, %37) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%38) : (f32) -> ()
    }) : (tensor<1x4x5x5xf32>, tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
    "func.return"(%11) : (tensor<1x4x5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// adaptive
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x1x1xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 8.100000e+01 : f32}> : () -> f32
    %2 = "tensor.empty"() : () -> tensor<1x4x1x1xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: f32, %arg6: f32):
      "linalg.yield"(%arg5) : (f32) -> ()
    }) : (f32, tensor<1x4x1x1xf32>) -> tensor<1x4x1x1xf32>
    %4 = "linalg.generic"(%arg0, %3) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg3: f32, %arg4: f32):
      %7 = "arith.addf"(%arg3, %arg4) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x1x1xf32>
    %5 = "linalg.generic"(%4, %2) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %6 = "arith.divf"(%arg1, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%6) : (f32) -> ()
    }) : (tensor<1x4x1x1xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x1x1xf32>
    "func.return"(%5) : (tensor<1x4x1x1xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// adaptive2
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 3 + d4, d3 * 3 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x4x3x3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 9.000000e+00 : f32}> : () -> f32
    %2 = "tensor.empty"() : () -> tensor<1x4x3x3xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
    %4 = "tensor.empty"() : () -> tensor<3x3xf32>
    %5 = "linalg.pooling_nchw_sum"(%arg0, %4, %3) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<3> : vector<2xi64>}> ({
    ^bb0(%arg3: f32, %arg4: f32, %arg5: f32):
      %8 = "arith.addf"(%arg5, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x9x9xf32>, tensor<3x3xf32>, tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
    %6 = "linalg.generic"(%5, %2) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %7 = "arith.divf"(%arg1, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<1x4x3x3xf32>, tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
    "func.return"(%6) : (tensor<1x4x3x3xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// maxpool1d
#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 + d4, d3 * 2 + d5)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9xf32>) -> tensor<1x4x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9xf32>):
    %0 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %1 = "tensor.expand_shape"(%arg0) <{reassociation = [[0], [1], [2, 3]], static_output_shape = array<i64: 1, 4, 1, 9>}> : (tensor<1x4x9xf32>) -> tensor<1x4x1x9xf32>
    %2 = "tensor.empty"() : () -> tensor<1x4x1x4xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<1x4x1x4xf32>) -> tensor<1x4x1x4xf32>
    %4 = "tensor.empty"() : () -> tensor<1x2xf32>
    %5 = "linalg.pooling_nchw_max"(%1, %4, %3) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<[1, 2]> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %7 = "arith.maximumf"(%arg3, %arg1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x1x9xf32>, tensor<1x2xf32>, tensor<1x4x1x4xf32>) -> tensor<1x4x1x4xf32>
    %6 = "tensor.collapse_shape"(%5) <{reassociation = [[0], [1, 2], [3]]}> : (tensor<1x4x1x4xf32>) -> tensor<1x4x4xf32>
    "func.return"(%6) : (tensor<1x4x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()
