// sum
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d2)>
#map2 = affine_map<(d0, d1, d2) -> (d2)>
#map3 = affine_map<(d0) -> (d0)>
#map4 = affine_map<(d0, d1) -> (d0, d1)>
#map5 = affine_map<(d0, d1) -> (d1)>
#map6 = affine_map<(d0, d1, d2) -> (d0, d1)>
#map7 = affine_map<(d0, d1) -> (d0)>
#map8 = affine_map<(d0) -> ()>
#map9 = affine_map<(d0, d1) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x4x4xf32>) -> tensor<3x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x4x4xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = 0x7F800000 : f32}> : () -> f32
    %4 = "arith.constant"() <{value = 1.200000e+01 : f32}> : () -> f32
    %5 = "tensor.empty"() : () -> tensor<3x4xf32>
    %6 = "linalg.fill"(%0, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg36: f32, %arg37: f32):
      "linalg.yield"(%arg36) : (f32) -> ()
    }) : (f32, tensor<3x4xf32>) -> tensor<3x4xf32>
    %7 = "linalg.generic"(%arg0, %6) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg34: f32, %arg35: f32):
      %47 = "arith.addf"(%arg34, %arg35) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%47) : (f32) -> ()
    }) : (tensor<3x4x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    %8 = "tensor.empty"() : () -> tensor<4xf32>
    %9 = "linalg.fill"(%0, %8) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg32: f32, %arg33: f32):
      "linalg.yield"(%arg32) : (f32) -> ()
    }) : (f32, tensor<4xf32>) -> tensor<4xf32>
    %10 = "linalg.generic"(%arg0, %9) <{indexing_maps = [#map, #map2], iterator_types = [#linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg30: f32, %arg31: f32):
      %46 = "arith.addf"(%arg30, %arg31) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%46) : (f32) -> ()
    }) : (tensor<3x4x4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %11 = "linalg.generic"(%10, %8) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg28: f32, %arg29: f32):
      %45 = "arith.divf"(%arg28, %4) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%45) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %12 = "linalg.generic"(%7, %11, %5) <{indexing_maps = [#map4, #map5, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg25: f32, %arg26: f32, %arg27: f32):
      %44 = "arith.addf"(%arg25, %arg26) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%44) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    %13 = "tensor.empty"() : () -> tensor<3x4xi64>
    %14 = "linalg.fill"(%1, %13) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg23: i64, %arg24: i64):
      "linalg.yield"(%arg23) : (i64) -> ()
    }) : (i64, tensor<3x4xi64>) -> tensor<3x4xi64>
    %15 = "linalg.fill"(%2, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f32):
      "linalg.yield"(%arg21) : (f32) -> ()
    }) : (f32, tensor<3x4xf32>) -> tensor<3x4xf32>
    %16:2 = "linalg.generic"(%arg0, %15, %14) <{indexing_maps = [#map, #map6, #map6], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg18: f32, %arg19: f32, %arg20: i64):
      %39 = "linalg.index"() <{dim = 2 : i64}> : () -> index
      %40 = "arith.index_cast"(%39) : (index) -> i64
      %41 = "arith.maximumf"(%arg18, %arg19) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %42 = "arith.cmpf"(%arg18, %arg19) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %43 = "arith.select"(%42, %40, %arg20) : (i1, i64, i64) -> i64
      "linalg.yield"(%41, %43) : (f32, i64) -> ()
    }) : (tensor<3x4x4xf32>, tensor<3x4xf32>, tensor<3x4xi64>) -> (tensor<3x4xf32>, tensor<3x4xi64>)
    %17 = "tensor.empty"() : () -> tensor<3xi64>
    %18 = "linalg.fill"(%1, %17) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg16: i64, %arg17: i64):
      "linalg.yield"(%arg16) : (i64) -> ()
    }) : (i64, tensor<3xi64>) -> tensor<3xi64>
    %19 = "tensor.empty"() : () -> tensor<3xf32>
    %20 = "linalg.fill"(%3, %19) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg14: f32, %arg15: f32):
      "linalg.yield"(%arg14) : (f32) -> ()
    }) : (f32, tensor<3xf32>) -> tensor<3xf32>
    %21:2 = "linalg.generic"(%16#0, %20, %18) <{indexing_maps = [#map4, #map7, #map7], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg11: f32, %arg12: f32, %arg13: i64):
      %34 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %35 = "arith.index_cast"(%34) : (index) -> i64
      %36 = "arith.minimumf"(%arg11, %arg12) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %37 = "arith.cmpf"(%arg11, %arg12) <{fastmath = #arith.fastmath<none>, predicate = 4 : i64}> : (f32, f32) -> i1
      %38 = "arith.select"(%37, %35, %arg13) : (i1, i64, i64) -> i64
      "linalg.yield"(%36, %38) : (f32, i64) -> ()
    }) : (tensor<3x4xf32>, tensor<3xf32>, tensor<3xi64>) -> (tensor<3xf32>, tensor<3xi64>)
    %22 = "tensor.empty"() : () -> tensor<i64>
    %23 = "linalg.fill"(%1, %22) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg9: i64, %arg10: i64):
      "linalg.yield"(%arg9) : (i64) -> ()
    }) : (i64, tensor<i64>) -> tensor<i64>
    %24 = "tensor.empty"() : () -> tensor<f32>
    %25 = "linalg.fill"(%3, %24) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32):
      "linalg.yield"(%arg7) : (f32) -> ()
    }) : (f32, tensor<f32>) -> tensor<f32>
    %26:2 = "linalg.generic"(%21#0, %25, %23) <{indexing_maps = [#map3, #map8, #map8], iterator_types = [#linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: i64):
      %29 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %30 = "arith.index_cast"(%29) : (index) -> i64
      %31 = "arith.minimumf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %32 = "arith.cmpf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>, predicate = 4 : i64}> : (f32, f32) -> i1
      %33 = "arith.select"(%32, %30, %arg6) : (i1, i64, i64) -> i64
      "linalg.yield"(%31, %33) : (f32, i64) -> ()
    }) : (tensor<3xf32>, tensor<f32>, tensor<i64>) -> (tensor<f32>, tensor<i64>)
    %27 = "linalg.generic"(%12, %26#0, %5) <{indexing_maps = [#map4, #map9, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %28 = "arith.addf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%28) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<f32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    "func.return"(%27) : (tensor<3x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// var
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0, 0)>
#map2 = affine_map<(d0, d1) -> (d0)>
#map3 = affine_map<(d0) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x4xf32>) -> tensor<3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x4xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f64}> : () -> f64
    %1 = "arith.constant"() <{value = 3.000000e+00 : f64}> : () -> f64
    %2 = "arith.constant"() <{value = 4.000000e+00 : f64}> : () -> f64
    %3 = "tensor.empty"() : () -> tensor<3x4xf64>
    %4 = "linalg.generic"(%arg0, %3) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f64):
      %24 = "arith.extf"(%arg21) : (f32) -> f64
      "linalg.yield"(%24) : (f64) -> ()
    }) : (tensor<3x4xf32>, tensor<3x4xf64>) -> tensor<3x4xf64>
    %5 = "tensor.empty"() : () -> tensor<3x1xf64>
    %6 = "linalg.fill"(%0, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg19: f64, %arg20: f64):
      "linalg.yield"(%arg19) : (f64) -> ()
    }) : (f64, tensor<3x1xf64>) -> tensor<3x1xf64>
    %7 = "linalg.generic"(%4, %6) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg17: f64, %arg18: f64):
      %23 = "arith.addf"(%arg17, %arg18) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%23) : (f64) -> ()
    }) : (tensor<3x4xf64>, tensor<3x1xf64>) -> tensor<3x1xf64>
    %8 = "linalg.generic"(%7, %5) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg15: f64, %arg16: f64):
      %22 = "arith.divf"(%arg15, %2) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%22) : (f64) -> ()
    }) : (tensor<3x1xf64>, tensor<3x1xf64>) -> tensor<3x1xf64>
    %9 = "linalg.generic"(%4, %8, %3) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg12: f64, %arg13: f64, %arg14: f64):
      %21 = "arith.subf"(%arg12, %arg13) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%21) : (f64) -> ()
    }) : (tensor<3x4xf64>, tensor<3x1xf64>, tensor<3x4xf64>) -> tensor<3x4xf64>
    %10 = "linalg.generic"(%9, %9, %3) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg9: f64, %arg10: f64, %arg11: f64):
      %20 = "arith.mulf"(%arg9, %arg10) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%20) : (f64) -> ()
    }) : (tensor<3x4xf64>, tensor<3x4xf64>, tensor<3x4xf64>) -> tensor<3x4xf64>
    %11 = "tensor.empty"() : () -> tensor<3xf64>
    %12 = "linalg.fill"(%0, %11) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f64, %arg8: f64):
      "linalg.yield"(%arg7) : (f64) -> ()
    }) : (f64, tensor<3xf64>) -> tensor<3xf64>
    %13 = "linalg.generic"(%10, %12) <{indexing_maps = [#map, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: f64, %arg6: f64):
      %19 = "arith.addf"(%arg5, %arg6) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%19) : (f64) -> ()
    }) : (tensor<3x4xf64>, tensor<3xf64>) -> tensor<3xf64>
    %14 = "linalg.generic"(%13, %11) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg3: f64, %arg4: f64):
      %18 = "arith.divf"(%arg3, %1) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%18) : (f64) -> ()
    }) : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xf64>
    %15 = "tensor.empty"() : () -> tensor<3xf32>
    %16 = "linalg.generic"(%14, %15) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f64, %arg2: f32):
      %17 = "arith.truncf"(%arg1) : (f64) -> f32
      "linalg.yield"(%17) : (f32) -> ()
    }) : (tensor<3xf64>, tensor<3xf32>) -> tensor<3xf32>
    "func.return"(%16) : (tensor<3xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// argmax
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x7xf32>) -> tensor<3xi64>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x7xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %2 = "tensor.empty"() : () -> tensor<3xi64>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: i64, %arg7: i64):
      "linalg.yield"(%arg6) : (i64) -> ()
    }) : (i64, tensor<3xi64>) -> tensor<3xi64>
    %4 = "tensor.empty"() : () -> tensor<3xf32>
    %5 = "linalg.fill"(%1, %4) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<3xf32>) -> tensor<3xf32>
    %6:2 = "linalg.generic"(%arg0, %5, %3) <{indexing_maps = [#map, #map1, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: i64):
      %7 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %8 = "arith.index_cast"(%7) : (index) -> i64
      %9 = "arith.maximumf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %10 = "arith.cmpf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %11 = "arith.select"(%10, %8, %arg3) : (i1, i64, i64) -> i64
      "linalg.yield"(%9, %11) : (f32, i64) -> ()
    }) : (tensor<3x7xf32>, tensor<3xf32>, tensor<3xi64>) -> (tensor<3xf32>, tensor<3xi64>)
    "func.return"(%6#1) : (tensor<3xi64>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// argmin
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x7xf32>) -> tensor<i64>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x7xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0x7F800000 : f32}> : () -> f32
    %2 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0, 1]]}> : (tensor<3x7xf32>) -> tensor<21xf32>
    %3 = "tensor.empty"() : () -> tensor<i64>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: i64, %arg7: i64):
      "linalg.yield"(%arg6) : (i64) -> ()
    }) : (i64, tensor<i64>) -> tensor<i64>
    %5 = "tensor.empty"() : () -> tensor<f32>
    %6 = "linalg.fill"(%1, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<f32>) -> tensor<f32>
    %7:2 = "linalg.generic"(%2, %6, %4) <{indexing_maps = [#map, #map1, #map1], iterator_types = [#linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: i64):
      %8 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %9 = "arith.index_cast"(%8) : (index) -> i64
      %10 = "arith.minimumf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %11 = "arith.cmpf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>, predicate = 4 : i64}> : (f32, f32) -> i1
      %12 = "arith.select"(%11, %9, %arg3) : (i1, i64, i64) -> i64
      "linalg.yield"(%10, %12) : (f32, i64) -> ()
    }) : (tensor<21xf32>, tensor<f32>, tensor<i64>) -> (tensor<f32>, tensor<i64>)
    "func.return"(%7#1) : (tensor<i64>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// prod
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x4xf32>) -> tensor<3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x4xf32>):
    %0 = "arith.constant"() <{value = 1.000000e+00 : f32}> : () -> f32
    %1 = "tensor.empty"() : () -> tensor<3xf32>
    %2 = "linalg.fill"(%0, %1) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg3: f32, %arg4: f32):
      "linalg.yield"(%arg3) : (f32) -> ()
    }) : (f32, tensor<3xf32>) -> tensor<3xf32>
    %3 = "linalg.generic"(%arg0, %2) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %4 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%4) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<3xf32>) -> tensor<3xf32>
    "func.return"(%3) : (tensor<3xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// logsoftmax
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d2)>
#map2 = affine_map<(d0, d1, d2) -> (d0, 0, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x4x5xf32>) -> tensor<3x4x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x4x5xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %3 = "tensor.empty"() : () -> tensor<3x5xi64>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg20: i64, %arg21: i64):
      "linalg.yield"(%arg20) : (i64) -> ()
    }) : (i64, tensor<3x5xi64>) -> tensor<3x5xi64>
    %5 = "tensor.empty"() : () -> tensor<3x5xf32>
    %6 = "linalg.fill"(%1, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg18: f32, %arg19: f32):
      "linalg.yield"(%arg18) : (f32) -> ()
    }) : (f32, tensor<3x5xf32>) -> tensor<3x5xf32>
    %7:2 = "linalg.generic"(%arg0, %6, %4) <{indexing_maps = [#map, #map1, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg15: f32, %arg16: f32, %arg17: i64):
      %22 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %23 = "arith.index_cast"(%22) : (index) -> i64
      %24 = "arith.maximumf"(%arg15, %arg16) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %25 = "arith.cmpf"(%arg15, %arg16) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %26 = "arith.select"(%25, %23, %arg17) : (i1, i64, i64) -> i64
      "linalg.yield"(%24, %26) : (f32, i64) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x5xf32>, tensor<3x5xi64>) -> (tensor<3x5xf32>, tensor<3x5xi64>)
    %8 = "tensor.expand_shape"(%7#0) <{reassociation = [[0, 1], [2]], static_output_shape = array<i64: 3, 1, 5>}> : (tensor<3x5xf32>) -> tensor<3x1x5xf32>
    %9 = "tensor.empty"() : () -> tensor<3x4x5xf32>
    %10 = "linalg.generic"(%arg0, %8, %9) <{indexing_maps = [#map, #map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg12: f32, %arg13: f32, %arg14: f32):
      %21 = "arith.subf"(%arg12, %arg13) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%21) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x1x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>
    %11 = "linalg.generic"(%10, %9) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg10: f32, %arg11: f32):
      %20 = "math.exp"(%arg10) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%20) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>
    %12 = "tensor.empty"() : () -> tensor<3x1x5xf32>
    %13 = "linalg.fill"(%2, %12) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg8: f32, %arg9: f32):
      "linalg.yield"(%arg8) : (f32) -> ()
    }) : (f32, tensor<3x1x5xf32>) -> tensor<3x1x5xf32>
    %14 = "linalg.generic"(%11, %13) <{indexing_maps = [#map, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      %19 = "arith.addf"(%arg6, %arg7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%19) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x1x5xf32>) -> tensor<3x1x5xf32>
    %15 = "linalg.generic"(%14, %12) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      %18 = "math.log"(%arg4) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%18) : (f32) -> ()
    }) : (tensor<3x1x5xf32>, tensor<3x1x5xf32>) -> tensor<3x1x5xf32>
    %16 = "linalg.generic"(%10, %15, %9) <{indexing_maps = [#map, #map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %17 = "arith.subf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%17) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x1x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>
    "func.return"(%16) : (tensor<3x4x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// norm
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0, 0)>
#map2 = affine_map<(d0, d1) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x5xf32>) -> tensor<3x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x5xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 9.9999999999999998E-13 : f64}> : () -> f64
    %2 = "arith.constant"() <{value = 5.000000e-01 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = 2.000000e+00 : f32}> : () -> f32
    %4 = "tensor.empty"() : () -> tensor<3x1xf32>
    %5 = "linalg.fill"(%0, %4) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg15: f32, %arg16: f32):
      "linalg.yield"(%arg15) : (f32) -> ()
    }) : (f32, tensor<3x1xf32>) -> tensor<3x1xf32>
    %6 = "linalg.generic"(%arg0, %5) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg13: f32, %arg14: f32):
      %20 = "math.absf"(%arg13) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      %21 = "math.powf"(%20, %3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %22 = "arith.addf"(%21, %arg14) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%22) : (f32) -> ()
    }) : (tensor<3x5xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
    %7 = "linalg.generic"(%6, %4) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg11: f32, %arg12: f32):
      %19 = "math.powf"(%arg11, %2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%19) : (f32) -> ()
    }) : (tensor<3x1xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
    %8 = "linalg.generic"(%7, %4) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg9: f32, %arg10: f32):
      %16 = "arith.truncf"(%1) : (f64) -> f32
      %17 = "arith.cmpf"(%arg9, %16) <{fastmath = #arith.fastmath<none>, predicate = 11 : i64}> : (f32, f32) -> i1
      %18 = "arith.select"(%17, %16, %arg9) : (i1, f32, f32) -> f32
      "linalg.yield"(%18) : (f32) -> ()
    }) : (tensor<3x1xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
    %9 = "tensor.empty"() : () -> tensor<3x5xf32>
    %10 = "tensor.collapse_shape"(%8) <{reassociation = [[0, 1]]}> : (tensor<3x1xf32>) -> tensor<3xf32>
    %11 = "linalg.generic"(%10, %9) <{indexing_maps = [#map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32):
      "linalg.yield"(%arg7) : (f32) -> ()
    }) : (tensor<3xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
    %12 = "linalg.generic"(%arg0, %11, %9) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %15 = "arith.divf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%15) : (f32) -> ()
    }) : (tensor<3x5xf32>, tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
    %13 = "linalg.generic"(%12, %7, %9) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %14 = "arith.addf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%14) : (f32) -> ()
    }) : (tensor<3x5xf32>, tensor<3x1xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
    "func.return"(%13) : (tensor<3x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// ln
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d1, 0)>
#map2 = affine_map<(d0, d1, d2) -> (d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x8xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f64}> : () -> f64
    %1 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_8_torch.float32_1> : tensor<8xf32>}> : () -> tensor<8xf32>
    %3 = "arith.constant"() <{value = dense_resource<torch_tensor_8_torch.float32> : tensor<8xf32>}> : () -> tensor<8xf32>
    %4 = "arith.constant"() <{value = 1.000000e-05 : f64}> : () -> f64
    %5 = "arith.constant"() <{value = 8.000000e+00 : f64}> : () -> f64
    %6 = "arith.constant"() <{value = 8.000000e+00 : f32}> : () -> f32
    %7 = "tensor.empty"() : () -> tensor<2x4x8xf64>
    %8 = "linalg.generic"(%arg0, %7) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg41: f32, %arg42: f64):
      %45 = "arith.extf"(%arg41) : (f32) -> f64
      "linalg.yield"(%45) : (f64) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x8xf64>) -> tensor<2x4x8xf64>
    %9 = "tensor.empty"() : () -> tensor<2x4x1xf64>
    %10 = "linalg.fill"(%0, %9) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg39: f64, %arg40: f64):
      "linalg.yield"(%arg39) : (f64) -> ()
    }) : (f64, tensor<2x4x1xf64>) -> tensor<2x4x1xf64>
    %11 = "linalg.generic"(%8, %10) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg37: f64, %arg38: f64):
      %44 = "arith.addf"(%arg37, %arg38) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%44) : (f64) -> ()
    }) : (tensor<2x4x8xf64>, tensor<2x4x1xf64>) -> tensor<2x4x1xf64>
    %12 = "linalg.generic"(%11, %9) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg35: f64, %arg36: f64):
      %43 = "arith.divf"(%arg35, %5) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%43) : (f64) -> ()
    }) : (tensor<2x4x1xf64>, tensor<2x4x1xf64>) -> tensor<2x4x1xf64>
    %13 = "linalg.generic"(%8, %12, %7) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg32: f64, %arg33: f64, %arg34: f64):
      %42 = "arith.subf"(%arg32, %arg33) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%42) : (f64) -> ()
    }) : (tensor<2x4x8xf64>, tensor<2x4x1xf64>, tensor<2x4x8xf64>) -> tensor<2x4x8xf64>
    %14 = "linalg.generic"(%13, %13, %7) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg29: f64, %arg30: f64, %arg31: f64):
      %41 = "arith.mulf"(%arg29, %arg30) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%41) : (f64) -> ()
    }) : (tensor<2x4x8xf64>, tensor<2x4x8xf64>, tensor<2x4x8xf64>) -> tensor<2x4x8xf64>
    %15 = "linalg.generic"(%14, %10) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg27: f64, %arg28: f64):
      %40 = "arith.addf"(%arg27, %arg28) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%40) : (f64) -> ()
    }) : (tensor<2x4x8xf64>, tensor<2x4x1xf64>) -> tensor<2x4x1xf64>
    %16 = "linalg.generic"(%15, %9) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg25: f64, %arg26: f64):
      %39 = "arith.divf"(%arg25, %5) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%39) : (f64) -> ()
    }) : (tensor<2x4x1xf64>, tensor<2x4x1xf64>) -> tensor<2x4x1xf64>
    %17 = "tensor.empty"() : () -> tensor<2x4x1xf32>
    %18 = "linalg.generic"(%16, %17) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg23: f64, %arg24: f32):
      %38 = "arith.truncf"(%arg23) : (f64) -> f32
      "linalg.yield"(%38) : (f32) -> ()
    }) : (tensor<2x4x1xf64>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %19 = "linalg.fill"(%1, %17) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f32):
      "linalg.yield"(%arg21) : (f32) -> ()
    }) : (f32, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %20 = "linalg.generic"(%arg0, %19) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg19: f32, %arg20: f32):
      %37 = "arith.addf"(%arg19, %arg20) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%37) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %21 = "linalg.generic"(%20, %17) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg17: f32, %arg18: f32):
      %36 = "arith.divf"(%arg17, %6) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%36) : (f32) -> ()
    }) : (tensor<2x4x1xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %22 = "linalg.generic"(%18, %17) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg15: f32, %arg16: f32):
      %34 = "arith.truncf"(%4) : (f64) -> f32
      %35 = "arith.addf"(%arg15, %34) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%35) : (f32) -> ()
    }) : (tensor<2x4x1xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %23 = "linalg.generic"(%22, %17) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg13: f32, %arg14: f32):
      %33 = "math.rsqrt"(%arg13) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%33) : (f32) -> ()
    }) : (tensor<2x4x1xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %24 = "tensor.empty"() : () -> tensor<2x4x8xf32>
    %25 = "linalg.generic"(%arg0, %21, %24) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg10: f32, %arg11: f32, %arg12: f32):
      %32 = "arith.subf"(%arg10, %arg11) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%32) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %26 = "linalg.generic"(%25, %23, %24) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32, %arg9: f32):
      %31 = "arith.mulf"(%arg7, %arg8) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%31) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %27 = "linalg.generic"(%26, %3, %24) <{indexing_maps = [#map, #map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %30 = "arith.mulf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%30) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %28 = "linalg.generic"(%27, %2, %24) <{indexing_maps = [#map, #map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %29 = "arith.addf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%29) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    "func.return"(%28) : (tensor<2x4x8xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_8_torch.float32_1: "0x040000000000000000000000000000000000000000000000000000000000000000000000",
      torch_tensor_8_torch.float32: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F"
    }
  }
#-}
// -----
// gn
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (0, d1, d2, d3)>
#map4 = affine_map<(d0, d1) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x3x3xf32>):
    %0 = "arith.constant"() <{value = 1 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 2 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 0.000000e+00 : f64}> : () -> f64
    %3 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %4 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %5 = "arith.constant"() <{value = dense_resource<torch_tensor_4_torch.float32_1> : tensor<4xf32>}> : () -> tensor<4xf32>
    %6 = "arith.constant"() <{value = dense_resource<torch_tensor_4_torch.float32> : tensor<4xf32>}> : () -> tensor<4xf32>
    %7 = "arith.constant"() <{value = 1.000000e-05 : f64}> : () -> f64
    %8 = "arith.constant"() <{value = 1.800000e+01 : f64}> : () -> f64
    %9 = "arith.constant"() <{value = 1.800000e+01 : f32}> : () -> f32
    %10 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %11 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_1> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %12 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_2> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %13 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_3> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %14 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_4> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %15 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_5> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %16 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_6> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %17 = "arith.constant"() <{value = dense_resource<torch_tensor_2_4_torch.int64_7> : tensor<2x4xi64>}> : () -> tensor<2x4xi64>
    %18 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0], [1], [2, 3]]}> : (tensor<2x4x3x3xf32>) -> tensor<2x4x9xf32>
    %19 = "tensor.expand_shape"(%18) <{reassociation = [[0], [1, 2], [3]], static_output_shape = array<i64: 2, 2, 2, 9>}> : (tensor<2x4x9xf32>) -> tensor<2x2x2x9xf32>
    %20 = "tensor.empty"() : () -> tensor<2x2x2x9xf64>
    %21 = "linalg.generic"(%19, %20) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg56: f32, %arg57: f64):
      %104 = "arith.extf"(%arg56) : (f32) -> f64
      "linalg.yield"(%104) : (f64) -> ()
    }) : (tensor<2x2x2x9xf32>, tensor<2x2x2x9xf64>) -> tensor<2x2x2x9xf64>
    %22 = "tensor.empty"() : () -> tensor<2x2x1x1xf64>
    %23 = "linalg.fill"(%2, %22) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg54: f64, %arg55: f64):
      "linalg.yield"(%arg54) : (f64) -> ()
    }) : (f64, tensor<2x2x1x1xf64>) -> tensor<2x2x1x1xf64>
    %24 = "linalg.generic"(%21, %23) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg52: f64, %arg53: f64):
      %103 = "arith.addf"(%arg52, %arg53) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%103) : (f64) -> ()
    }) : (tensor<2x2x2x9xf64>, tensor<2x2x1x1xf64>) -> tensor<2x2x1x1xf64>
    %25 = "linalg.generic"(%24, %22) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg50: f64, %arg51: f64):
      %102 = "arith.divf"(%arg50, %8) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%102) : (f64) -> ()
    }) : (tensor<2x2x1x1xf64>, tensor<2x2x1x1xf64>) -> tensor<2x2x1x1xf64>
    %26 = "linalg.generic"(%21, %25, %20) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg47: f64, %arg48: f64, %arg49: f64):
      %101 = "arith.subf"(%arg47, %arg48) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%101) : (f64) -> ()
    }) : (tensor<2x2x2x9xf64>, tensor<2x2x1x1xf64>, tensor<2x2x2x9xf64>) -> tensor<2x2x2x9xf64>
    %27 = "linalg.generic"(%26, %26, %20) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg44: f64, %arg45: f64, %arg46: f64):
      %100 = "arith.mulf"(%arg44, %arg45) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%100) : (f64) -> ()
    }) : (tensor<2x2x2x9xf64>, tensor<2x2x2x9xf64>, tensor<2x2x2x9xf64>) -> tensor<2x2x2x9xf64>
    %28 = "linalg.generic"(%27, %23) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg42: f64, %arg43: f64):
      %99 = "arith.addf"(%arg42, %arg43) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%99) : (f64) -> ()
    }) : (tensor<2x2x2x9xf64>, tensor<2x2x1x1xf64>) -> tensor<2x2x1x1xf64>
    %29 = "linalg.generic"(%28, %22) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg40: f64, %arg41: f64):
      %98 = "arith.divf"(%arg40, %8) <{fastmath = #arith.fastmath<none>}> : (f64, f64) -> f64
      "linalg.yield"(%98) : (f64) -> ()
    }) : (tensor<2x2x1x1xf64>, tensor<2x2x1x1xf64>) -> tensor<2x2x1x1xf64>
    %30 = "tensor.empty"() : () -> tensor<2x2x1x1xf32>
    %31 = "linalg.generic"(%29, %30) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg38: f64, %arg39: f32):
      %97 = "arith.truncf"(%arg38) : (f64) -> f32
      "linalg.yield"(%97) : (f32) -> ()
    }) : (tensor<2x2x1x1xf64>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %32 = "linalg.fill"(%3, %30) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg36: f32, %arg37: f32):
      "linalg.yield"(%arg36) : (f32) -> ()
    }) : (f32, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %33 = "linalg.generic"(%19, %32) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg34: f32, %arg35: f32):
      %96 = "arith.addf"(%arg34, %arg35) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%96) : (f32) -> ()
    }) : (tensor<2x2x2x9xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %34 = "linalg.generic"(%33, %30) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg32: f32, %arg33: f32):
      %95 = "arith.divf"(%arg32, %9) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%95) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %35 = "linalg.generic"(%31, %30) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg30: f32, %arg31: f32):
      %93 = "arith.truncf"(%7) : (f64) -> f32
      %94 = "arith.addf"(%arg30, %93) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%94) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %36 = "linalg.generic"(%35, %30) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg28: f32, %arg29: f32):
      %92 = "math.rsqrt"(%arg28) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%92) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %37 = "tensor.expand_shape"(%6) <{reassociation = [[0, 1, 2, 3]], static_output_shape = array<i64: 1, 2, 2, 1>}> : (tensor<4xf32>) -> tensor<1x2x2x1xf32>
    %38 = "tensor.empty"() : () -> tensor<2x2x2x1xf32>
    %39 = "linalg.generic"(%36, %37, %38) <{indexing_maps = [#map2, #map3, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg25: f32, %arg26: f32, %arg27: f32):
      %91 = "arith.mulf"(%arg25, %arg26) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%91) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<1x2x2x1xf32>, tensor<2x2x2x1xf32>) -> tensor<2x2x2x1xf32>
    %40 = "linalg.generic"(%34, %30) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg23: f32, %arg24: f32):
      %90 = "arith.negf"(%arg23) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%90) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x1x1xf32>
    %41 = "linalg.generic"(%40, %39, %38) <{indexing_maps = [#map2, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg20: f32, %arg21: f32, %arg22: f32):
      %89 = "arith.mulf"(%arg20, %arg21) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%89) : (f32) -> ()
    }) : (tensor<2x2x1x1xf32>, tensor<2x2x2x1xf32>, tensor<2x2x2x1xf32>) -> tensor<2x2x2x1xf32>
    %42 = "tensor.expand_shape"(%5) <{reassociation = [[0, 1, 2, 3]], static_output_shape = array<i64: 1, 2, 2, 1>}> : (tensor<4xf32>) -> tensor<1x2x2x1xf32>
    %43 = "linalg.generic"(%41, %42, %38) <{indexing_maps = [#map, #map3, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg17: f32, %arg18: f32, %arg19: f32):
      %88 = "arith.addf"(%arg17, %arg18) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%88) : (f32) -> ()
    }) : (tensor<2x2x2x1xf32>, tensor<1x2x2x1xf32>, tensor<2x2x2x1xf32>) -> tensor<2x2x2x1xf32>
    %44 = "tensor.empty"() : () -> tensor<2x4xf32>
    %45 = "linalg.generic"(%10, %11, %12, %13, %44) <{indexing_maps = [#map4, #map4, #map4, #map4, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 4, 1>}> ({
    ^bb0(%arg12: i64, %arg13: i64, %arg14: i64, %arg15: i64, %arg16: f32):
      %71 = "arith.cmpi"(%arg12, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %72 = "arith.addi"(%arg12, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %73 = "arith.select"(%71, %72, %arg12) : (i1, i64, i64) -> i64
      %74 = "arith.index_cast"(%73) : (i64) -> index
      %75 = "arith.cmpi"(%arg13, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %76 = "arith.addi"(%arg13, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %77 = "arith.select"(%75, %76, %arg13) : (i1, i64, i64) -> i64
      %78 = "arith.index_cast"(%77) : (i64) -> index
      %79 = "arith.cmpi"(%arg14, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %80 = "arith.addi"(%arg14, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %81 = "arith.select"(%79, %80, %arg14) : (i1, i64, i64) -> i64
      %82 = "arith.index_cast"(%81) : (i64) -> index
      %83 = "arith.cmpi"(%arg15, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %84 = "arith.addi"(%arg15, %0) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %85 = "arith.select"(%83, %84, %arg15) : (i1, i64, i64) -> i64
      %86 = "arith.index_cast"(%85) : (i64) -> index
      %87 = "tensor.extract"(%39, %74, %78, %82, %86) : (tensor<2x2x2x1xf32>, index, index, index, index) -> f32
      "linalg.yield"(%87) : (f32) -> ()
    }) : (tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
    %46 = "linalg.generic"(%14, %15, %16, %17, %44) <{indexing_maps = [#map4, #map4, #map4, #map4, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 4, 1>}> ({
    ^bb0(%arg7: i64, %arg8: i64, %arg9: i64, %arg10: i64, %arg11: f32):
      %54 = "arith.cmpi"(%arg7, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %55 = "arith.addi"(%arg7, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %56 = "arith.select"(%54, %55, %arg7) : (i1, i64, i64) -> i64
      %57 = "arith.index_cast"(%56) : (i64) -> index
      %58 = "arith.cmpi"(%arg8, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %59 = "arith.addi"(%arg8, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %60 = "arith.select"(%58, %59, %arg8) : (i1, i64, i64) -> i64
      %61 = "arith.index_cast"(%60) : (i64) -> index
      %62 = "arith.cmpi"(%arg9, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %63 = "arith.addi"(%arg9, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %64 = "arith.select"(%62, %63, %arg9) : (i1, i64, i64) -> i64
      %65 = "arith.index_cast"(%64) : (i64) -> index
      %66 = "arith.cmpi"(%arg10, %4) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %67 = "arith.addi"(%arg10, %0) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %68 = "arith.select"(%66, %67, %arg10) : (i1, i64, i64) -> i64
      %69 = "arith.index_cast"(%68) : (i64) -> index
      %70 = "tensor.extract"(%43, %57, %61, %65, %69) : (tensor<2x2x2x1xf32>, index, index, index, index) -> f32
      "linalg.yield"(%70) : (f32) -> ()
    }) : (tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
    %47 = "tensor.expand_shape"(%45) <{reassociation = [[0], [1, 2, 3]], static_output_shape = array<i64: 2, 4, 1, 1>}> : (tensor<2x4xf32>) -> tensor<2x4x1x1xf32>
    %48 = "tensor.expand_shape"(%46) <{reassociation = [[0], [1, 2, 3]], static_output_shape = array<i64: 2, 4, 1, 1>}> : (tensor<2x4xf32>) -> tensor<2x4x1x1xf32>
    %49 = "tensor.empty"() : () -> tensor<2x4x3x3xf32>
    %50 = "linalg.generic"(%arg0, %47, %49) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %53 = "arith.mulf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%53) : (f32) -> ()
    }) : (tensor<2x4x3x3xf32>, tensor<2x4x1x1xf32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
    %51 = "linalg.generic"(%50, %48, %49) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %52 = "arith.addf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%52) : (f32) -> ()
    }) : (tensor<2x4x3x3xf32>, tensor<2x4x1x1xf32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
    "func.return"(%51) : (tensor<2x4x3x3xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_4_torch.float32_1: "0x0400000000000000000000000000000000000000",
      torch_tensor_4_torch.float32: "0x040000000000803F0000803F0000803F0000803F",
      torch_tensor_2_4_torch.int64: "0x0800000000000000000000000000000000000000000000000000000000000000000000000100000000000000010000000000000001000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_1: "0x0800000000000000000000000000000000000000010000000000000001000000000000000000000000000000000000000000000001000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_2: "0x0800000000000000000000000100000000000000000000000000000001000000000000000000000000000000010000000000000000000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_3: "0x0800000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
      torch_tensor_2_4_torch.int64_4: "0x0800000000000000000000000000000000000000000000000000000000000000000000000100000000000000010000000000000001000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_5: "0x0800000000000000000000000000000000000000010000000000000001000000000000000000000000000000000000000000000001000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_6: "0x0800000000000000000000000100000000000000000000000000000001000000000000000000000000000000010000000000000000000000000000000100000000000000",
      torch_tensor_2_4_torch.int64_7: "0x0800000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    }
  }
#-}
// -----
// rms
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d1, 0)>
#map2 = affine_map<(d0, d1, d2) -> (d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x8xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_8_torch.float32> : tensor<8xf32>}> : () -> tensor<8xf32>
    %2 = "arith.constant"() <{value = 8.000000e+00 : f32}> : () -> f32
    %3 = "tensor.empty"() : () -> tensor<2x4x8xf32>
    %4 = "linalg.generic"(%arg0, %arg0, %3) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg15: f32, %arg16: f32, %arg17: f32):
      %17 = "arith.mulf"(%arg15, %arg16) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%17) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %5 = "tensor.empty"() : () -> tensor<2x4x1xf32>
    %6 = "linalg.fill"(%0, %5) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg13: f32, %arg14: f32):
      "linalg.yield"(%arg13) : (f32) -> ()
    }) : (f32, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %7 = "linalg.generic"(%4, %6) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg11: f32, %arg12: f32):
      %16 = "arith.addf"(%arg11, %arg12) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%16) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %8 = "linalg.generic"(%7, %5) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg9: f32, %arg10: f32):
      %15 = "arith.divf"(%arg9, %2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%15) : (f32) -> ()
    }) : (tensor<2x4x1xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %9 = "linalg.generic"(%8, %5) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32):
      %14 = "math.rsqrt"(%arg7) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%14) : (f32) -> ()
    }) : (tensor<2x4x1xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %10 = "linalg.generic"(%arg0, %9, %3) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %13 = "arith.mulf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%13) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %11 = "linalg.generic"(%10, %1, %3) <{indexing_maps = [#map, #map2, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %12 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%12) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    "func.return"(%11) : (tensor<2x4x8xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_8_torch.float32: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F"
    }
  }
#-}
// -----
// cdist
#map = affine_map<(d0, d1, d2) -> (d0, 0, d2)>
#map1 = affine_map<(d0, d1, d2) -> (0, d1, d2)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map3 = affine_map<(d0, d1, d2) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x5xf32>, tensor<4x5xf32>) -> tensor<3x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x5xf32>, %arg1: tensor<4x5xf32>):
    %0 = "arith.constant"() <{value = 2 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %2 = "tensor.expand_shape"(%arg0) <{reassociation = [[0], [1, 2]], static_output_shape = array<i64: 3, 1, 5>}> : (tensor<3x5xf32>) -> tensor<3x1x5xf32>
    %3 = "tensor.expand_shape"(%arg1) <{reassociation = [[0, 1], [2]], static_output_shape = array<i64: 1, 4, 5>}> : (tensor<4x5xf32>) -> tensor<1x4x5xf32>
    %4 = "tensor.empty"() : () -> tensor<3x4x5xf32>
    %5 = "linalg.generic"(%2, %3, %4) <{indexing_maps = [#map, #map1, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg8: f32, %arg9: f32, %arg10: f32):
      %12 = "arith.subf"(%arg8, %arg9) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%12) : (f32) -> ()
    }) : (tensor<3x1x5xf32>, tensor<1x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>
    %6 = "linalg.generic"(%5, %4) <{indexing_maps = [#map2, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      %11 = "math.fpowi"(%arg6, %0) <{fastmath = #arith.fastmath<none>}> : (f32, i64) -> f32
      "linalg.yield"(%11) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>
    %7 = "tensor.empty"() : () -> tensor<3x4xf32>
    %8 = "linalg.fill"(%1, %7) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<3x4xf32>) -> tensor<3x4xf32>
    %9 = "linalg.generic"(%6, %8) <{indexing_maps = [#map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32):
      %10 = "arith.addf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%10) : (f32) -> ()
    }) : (tensor<3x4x5xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    "func.return"(%9) : (tensor<3x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// masked
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (0, d1)>
#map2 = affine_map<(d0, d1) -> (d0, 0)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> ()>
#map5 = affine_map<(d0, d1) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<5x5xf32>) -> tensor<5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<5x5xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 1 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %4 = "arith.constant"() <{value = dense<0xFF800000> : tensor<f32>}> : () -> tensor<f32>
    %5 = "arith.constant"() <{value = dense<true> : tensor<5x5xi1>}> : () -> tensor<5x5xi1>
    %6 = "tensor.empty"() : () -> tensor<5xi64>
    %7 = "linalg.generic"(%6) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg32: i64):
      %41 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %42 = "arith.index_cast"(%41) : (index) -> i64
      "linalg.yield"(%42) : (i64) -> ()
    }) : (tensor<5xi64>) -> tensor<5xi64>
    %8 = "tensor.expand_shape"(%7) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 5>}> : (tensor<5xi64>) -> tensor<1x5xi64>
    %9 = "tensor.expand_shape"(%7) <{reassociation = [[0, 1]], static_output_shape = array<i64: 5, 1>}> : (tensor<5xi64>) -> tensor<5x1xi64>
    %10 = "tensor.empty"() : () -> tensor<5x5xi64>
    %11 = "linalg.generic"(%8, %9, %10) <{indexing_maps = [#map1, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg29: i64, %arg30: i64, %arg31: i64):
      %40 = "arith.subi"(%arg29, %arg30) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%40) : (i64) -> ()
    }) : (tensor<1x5xi64>, tensor<5x1xi64>, tensor<5x5xi64>) -> tensor<5x5xi64>
    %12 = "tensor.empty"() : () -> tensor<5x5xi1>
    %13 = "linalg.generic"(%11, %12) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg27: i64, %arg28: i1):
      %39 = "arith.cmpi"(%arg27, %1) <{predicate = 5 : i64}> : (i64, i64) -> i1
      "linalg.yield"(%39) : (i1) -> ()
    }) : (tensor<5x5xi64>, tensor<5x5xi1>) -> tensor<5x5xi1>
    %14 = "linalg.generic"(%13, %5, %12) <{indexing_maps = [#map3, #map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg24: i1, %arg25: i1, %arg26: i1):
      %38 = "arith.andi"(%arg24, %arg25) : (i1, i1) -> i1
      "linalg.yield"(%38) : (i1) -> ()
    }) : (tensor<5x5xi1>, tensor<5x5xi1>, tensor<5x5xi1>) -> tensor<5x5xi1>
    %15 = "tensor.empty"() : () -> tensor<5x5xf32>
    %16 = "linalg.generic"(%14, %4, %arg0, %15) <{indexing_maps = [#map3, #map4, #map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg20: i1, %arg21: f32, %arg22: f32, %arg23: f32):
      %37 = "arith.select"(%arg20, %arg21, %arg22) : (i1, f32, f32) -> f32
      "linalg.yield"(%37) : (f32) -> ()
    }) : (tensor<5x5xi1>, tensor<f32>, tensor<5x5xf32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    %17 = "linalg.fill"(%0, %6) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg18: i64, %arg19: i64):
      "linalg.yield"(%arg18) : (i64) -> ()
    }) : (i64, tensor<5xi64>) -> tensor<5xi64>
    %18 = "tensor.empty"() : () -> tensor<5xf32>
    %19 = "linalg.fill"(%2, %18) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg16: f32, %arg17: f32):
      "linalg.yield"(%arg16) : (f32) -> ()
    }) : (f32, tensor<5xf32>) -> tensor<5xf32>
    %20:2 = "linalg.generic"(%16, %19, %17) <{indexing_maps = [#map3, #map5, #map5], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg13: f32, %arg14: f32, %arg15: i64):
      %32 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %33 = "arith.index_cast"(%32) : (index) -> i64
      %34 = "arith.maximumf"(%arg13, %arg14) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %35 = "arith.cmpf"(%arg13, %arg14) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %36 = "arith.select"(%35, %33, %arg15) : (i1, i64, i64) -> i64
      "linalg.yield"(%34, %36) : (f32, i64) -> ()
    }) : (tensor<5x5xf32>, tensor<5xf32>, tensor<5xi64>) -> (tensor<5xf32>, tensor<5xi64>)
    %21 = "tensor.expand_shape"(%20#0) <{reassociation = [[0, 1]], static_output_shape = array<i64: 5, 1>}> : (tensor<5xf32>) -> tensor<5x1xf32>
    %22 = "linalg.generic"(%16, %21, %15) <{indexing_maps = [#map3, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg10: f32, %arg11: f32, %arg12: f32):
      %31 = "arith.subf"(%arg10, %arg11) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%31) : (f32) -> ()
    }) : (tensor<5x5xf32>, tensor<5x1xf32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    %23 = "linalg.generic"(%22, %15) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg8: f32, %arg9: f32):
      %30 = "math.exp"(%arg8) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%30) : (f32) -> ()
    }) : (tensor<5x5xf32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    %24 = "tensor.empty"() : () -> tensor<5x1xf32>
    %25 = "linalg.fill"(%3, %24) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<5x1xf32>) -> tensor<5x1xf32>
    %26 = "linalg.generic"(%23, %25) <{indexing_maps = [#map3, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      %29 = "arith.addf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%29) : (f32) -> ()
    }) : (tensor<5x5xf32>, tensor<5x1xf32>) -> tensor<5x1xf32>
    %27 = "linalg.generic"(%23, %26, %15) <{indexing_maps = [#map3, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %28 = "arith.divf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%28) : (f32) -> ()
    }) : (tensor<5x5xf32>, tensor<5x1xf32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    "func.return"(%27) : (tensor<5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
