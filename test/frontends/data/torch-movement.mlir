// emb
#map = affine_map<(d0, d1, d2) -> (d0, d1)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3xi64>) -> tensor<2x3x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3xi64>):
    %0 = "arith.constant"() <{value = 9 : index}> : () -> index
    %1 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_9_4_torch.float32> : tensor<9x4xf32>}> : () -> tensor<9x4xf32>
    %3 = "tensor.empty"() : () -> tensor<2x3x4xf32>
    %4 = "linalg.generic"(%arg0, %3) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: i64, %arg2: f32):
      %5 = "arith.index_cast"(%arg1) : (i64) -> index
      %6 = "linalg.index"() <{dim = 2 : i64}> : () -> index
      %7 = "arith.cmpi"(%5, %0) <{predicate = 2 : i64}> : (index, index) -> i1
      "cf.assert"(%7) <{msg = "index must be smaller than dim size"}> : (i1) -> ()
      %8 = "arith.cmpi"(%arg1, %1) <{predicate = 5 : i64}> : (i64, i64) -> i1
      "cf.assert"(%8) <{msg = "index must be larger or equal to 0"}> : (i1) -> ()
      %9 = "tensor.extract"(%2, %5, %6) : (tensor<9x4xf32>, index, index) -> f32
      "linalg.yield"(%9) : (f32) -> ()
    }) : (tensor<2x3xi64>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    "func.return"(%4) : (tensor<2x3x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_9_4_torch.float32: "0x040000007245563FB9D7EEBD6CB5193FA95D6CBF1582B1BF369AF03E7A504C3E9D97233E0FAD293F4C0EBEBEABAB26BFF4299EBFCB5D27C0006A69BFE8E39CBEFCD601BFEE6C923F92C0913FCD21AC3F82FB8A3EA0CBBBBEAD20DFBF3580993F11A99A3EC1560B3F3BA8813DB2D89EBF185257BF15002ABF27BECBBE221C613FFDDB343F926D483F929756BFB5A480BF495A883D"
    }
  }
#-}
// -----
// cat
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x7x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x4xf32>, %arg1: tensor<2x1x4xf32>):
    %0 = "tensor.concat"(%arg0, %arg1, %arg0) <{dim = 1 : i64}> : (tensor<2x3x4xf32>, tensor<2x1x4xf32>, tensor<2x3x4xf32>) -> tensor<2x7x4xf32>
    "func.return"(%0) : (tensor<2x7x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// stack
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x2x3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3xf32>, %arg1: tensor<2x3xf32>):
    %0 = "tensor.concat"(%arg0, %arg1) <{dim = 1 : i64}> : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
    %1 = "tensor.expand_shape"(%0) <{reassociation = [[0], [1, 2]], static_output_shape = array<i64: 2, 2, 3>}> : (tensor<2x6xf32>) -> tensor<2x2x3xf32>
    "func.return"(%1) : (tensor<2x2x3xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// split
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x6xf32>) -> tensor<2x2xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x6xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.extract_slice"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>, static_offsets = array<i64: 0, 2>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 1>}> : (tensor<2x6xf32>) -> tensor<2x2xf32>
    %2 = "tensor.extract_slice"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 3>}> : (tensor<2x6xf32>) -> tensor<2x2xf32>
    %3 = "tensor.empty"() : () -> tensor<f32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<f32>) -> tensor<f32>
    %5 = "linalg.generic"(%2, %4) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<reduction>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      %9 = "arith.addf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%9) : (f32) -> ()
    }) : (tensor<2x2xf32>, tensor<f32>) -> tensor<f32>
    %6 = "tensor.empty"() : () -> tensor<2x2xf32>
    %7 = "linalg.generic"(%1, %5, %6) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %8 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<2x2xf32>, tensor<f32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    "func.return"(%7) : (tensor<2x2xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// flip
#map = affine_map<(d0, d1) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x6xf32>) -> tensor<2x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x6xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 5 : index}> : () -> index
    %2 = "tensor.empty"() : () -> tensor<2x6xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg3: f32, %arg4: f32):
      "linalg.yield"(%arg3) : (f32) -> ()
    }) : (f32, tensor<2x6xf32>) -> tensor<2x6xf32>
    %4 = "linalg.generic"(%arg0, %3) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      %5 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %6 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %7 = "arith.subi"(%1, %6) <{overflowFlags = #arith.overflow<none>}> : (index, index) -> index
      %8 = "tensor.extract"(%arg0, %5, %7) : (tensor<2x6xf32>, index, index) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<2x6xf32>, tensor<2x6xf32>) -> tensor<2x6xf32>
    "func.return"(%4) : (tensor<2x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// roll
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x6xf32>) -> tensor<2x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x6xf32>):
    %0 = "tensor.extract_slice"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>, static_offsets = array<i64: 0, 4>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 1>}> : (tensor<2x6xf32>) -> tensor<2x2xf32>
    %1 = "tensor.cast"(%0) : (tensor<2x2xf32>) -> tensor<2x?xf32>
    %2 = "tensor.extract_slice"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 4>, static_strides = array<i64: 1, 1>}> : (tensor<2x6xf32>) -> tensor<2x4xf32>
    %3 = "tensor.cast"(%2) : (tensor<2x4xf32>) -> tensor<2x?xf32>
    %4 = "tensor.concat"(%1, %3) <{dim = 1 : i64}> : (tensor<2x?xf32>, tensor<2x?xf32>) -> tensor<2x6xf32>
    "func.return"(%4) : (tensor<2x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// pad
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x6xf32>) -> tensor<3x9xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x6xf32>):
    %0 = "arith.constant"() <{value = 3.000000e+00 : f32}> : () -> f32
    %1 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 1, 2>, static_low = array<i64: 0, 1>}> ({
    ^bb0(%arg1: index, %arg2: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<2x6xf32>) -> tensor<3x9xf32>
    "func.return"(%1) : (tensor<3x9xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// reflect
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0) -> ()>
#map2 = affine_map<(d0, d1, d2) -> (d0, 0, 0)>
#map3 = affine_map<(d0, d1, d2) -> (d1, 0)>
#map4 = affine_map<(d0, d1, d2) -> (d2)>
#map5 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x6xf32>) -> tensor<2x3x9xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x6xf32>):
    %0 = "arith.constant"() <{value = -1 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 6 : i64}> : () -> i64
    %3 = "arith.constant"() <{value = 3 : i64}> : () -> i64
    %4 = "arith.constant"() <{value = 2 : i64}> : () -> i64
    %5 = "arith.constant"() <{value = dense<5> : tensor<i64>}> : () -> tensor<i64>
    %6 = "tensor.empty"() : () -> tensor<9xi64>
    %7 = "linalg.generic"(%6) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg17: i64):
      %41 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %42 = "arith.index_cast"(%41) : (index) -> i64
      %43 = "arith.addi"(%42, %0) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%43) : (i64) -> ()
    }) : (tensor<9xi64>) -> tensor<9xi64>
    %8 = "linalg.generic"(%7, %6) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg15: i64, %arg16: i64):
      %40 = "math.absi"(%arg15) : (i64) -> i64
      "linalg.yield"(%40) : (i64) -> ()
    }) : (tensor<9xi64>, tensor<9xi64>) -> tensor<9xi64>
    %9 = "linalg.generic"(%5, %8, %6) <{indexing_maps = [#map1, #map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg12: i64, %arg13: i64, %arg14: i64):
      %39 = "arith.subi"(%arg12, %arg13) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%39) : (i64) -> ()
    }) : (tensor<i64>, tensor<9xi64>, tensor<9xi64>) -> tensor<9xi64>
    %10 = "linalg.generic"(%9, %6) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg10: i64, %arg11: i64):
      %38 = "math.absi"(%arg10) : (i64) -> i64
      "linalg.yield"(%38) : (i64) -> ()
    }) : (tensor<9xi64>, tensor<9xi64>) -> tensor<9xi64>
    %11 = "linalg.generic"(%5, %10, %6) <{indexing_maps = [#map1, #map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg7: i64, %arg8: i64, %arg9: i64):
      %37 = "arith.subi"(%arg7, %arg8) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%37) : (i64) -> ()
    }) : (tensor<i64>, tensor<9xi64>, tensor<9xi64>) -> tensor<9xi64>
    %12 = "tensor.empty"() : () -> tensor<3xi64>
    %13 = "linalg.generic"(%12) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg6: i64):
      %35 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %36 = "arith.index_cast"(%35) : (index) -> i64
      "linalg.yield"(%36) : (i64) -> ()
    }) : (tensor<3xi64>) -> tensor<3xi64>
    %14 = "tensor.expand_shape"(%13) <{reassociation = [[0, 1]], static_output_shape = array<i64: 3, 1>}> : (tensor<3xi64>) -> tensor<3x1xi64>
    %15 = "tensor.empty"() : () -> tensor<2xi64>
    %16 = "linalg.generic"(%15) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg5: i64):
      %33 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %34 = "arith.index_cast"(%33) : (index) -> i64
      "linalg.yield"(%34) : (i64) -> ()
    }) : (tensor<2xi64>) -> tensor<2xi64>
    %17 = "tensor.expand_shape"(%16) <{reassociation = [[0, 1, 2]], static_output_shape = array<i64: 2, 1, 1>}> : (tensor<2xi64>) -> tensor<2x1x1xi64>
    %18 = "tensor.empty"() : () -> tensor<2x3x9xf32>
    %19 = "linalg.generic"(%17, %14, %11, %18) <{indexing_maps = [#map2, #map3, #map4, #map5], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg1: i64, %arg2: i64, %arg3: i64, %arg4: f32):
      %20 = "arith.cmpi"(%arg1, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %21 = "arith.addi"(%arg1, %4) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %22 = "arith.select"(%20, %21, %arg1) : (i1, i64, i64) -> i64
      %23 = "arith.index_cast"(%22) : (i64) -> index
      %24 = "arith.cmpi"(%arg2, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %25 = "arith.addi"(%arg2, %3) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %26 = "arith.select"(%24, %25, %arg2) : (i1, i64, i64) -> i64
      %27 = "arith.index_cast"(%26) : (i64) -> index
      %28 = "arith.cmpi"(%arg3, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %29 = "arith.addi"(%arg3, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %30 = "arith.select"(%28, %29, %arg3) : (i1, i64, i64) -> i64
      %31 = "arith.index_cast"(%30) : (i64) -> index
      %32 = "tensor.extract"(%arg0, %23, %27, %31) : (tensor<2x3x6xf32>, index, index, index) -> f32
      "linalg.yield"(%32) : (f32) -> ()
    }) : (tensor<2x1x1xi64>, tensor<3x1xi64>, tensor<9xi64>, tensor<2x3x9xf32>) -> tensor<2x3x9xf32>
    "func.return"(%19) : (tensor<2x3x9xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// permute
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x5xf32>) -> tensor<5x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x5xf32>):
    %0 = "tensor.empty"() : () -> tensor<5x2x3xf32>
    %1 = "linalg.transpose"(%arg0, %0) <{permutation = array<i64: 2, 0, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      "linalg.yield"(%arg1) : (f32) -> ()
    }) : (tensor<2x3x5xf32>, tensor<5x2x3xf32>) -> tensor<5x2x3xf32>
    %2 = "tensor.collapse_shape"(%1) <{reassociation = [[0], [1, 2]]}> : (tensor<5x2x3xf32>) -> tensor<5x6xf32>
    "func.return"(%2) : (tensor<5x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// tril
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (0, d1)>
#map2 = affine_map<(d0, d1) -> (d0, 0)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<5x5xf32>) -> tensor<5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<5x5xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<f32>}> : () -> tensor<f32>
    %2 = "tensor.empty"() : () -> tensor<5xi64>
    %3 = "linalg.generic"(%2) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg10: i64):
      %15 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %16 = "arith.index_cast"(%15) : (index) -> i64
      "linalg.yield"(%16) : (i64) -> ()
    }) : (tensor<5xi64>) -> tensor<5xi64>
    %4 = "tensor.expand_shape"(%3) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 5>}> : (tensor<5xi64>) -> tensor<1x5xi64>
    %5 = "tensor.expand_shape"(%3) <{reassociation = [[0, 1]], static_output_shape = array<i64: 5, 1>}> : (tensor<5xi64>) -> tensor<5x1xi64>
    %6 = "tensor.empty"() : () -> tensor<5x5xi64>
    %7 = "linalg.generic"(%4, %5, %6) <{indexing_maps = [#map1, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg7: i64, %arg8: i64, %arg9: i64):
      %14 = "arith.subi"(%arg7, %arg8) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%14) : (i64) -> ()
    }) : (tensor<1x5xi64>, tensor<5x1xi64>, tensor<5x5xi64>) -> tensor<5x5xi64>
    %8 = "tensor.empty"() : () -> tensor<5x5xi1>
    %9 = "linalg.generic"(%7, %8) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: i64, %arg6: i1):
      %13 = "arith.cmpi"(%arg5, %0) <{predicate = 3 : i64}> : (i64, i64) -> i1
      "linalg.yield"(%13) : (i1) -> ()
    }) : (tensor<5x5xi64>, tensor<5x5xi1>) -> tensor<5x5xi1>
    %10 = "tensor.empty"() : () -> tensor<5x5xf32>
    %11 = "linalg.generic"(%9, %arg0, %1, %10) <{indexing_maps = [#map3, #map3, #map4, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg1: i1, %arg2: f32, %arg3: f32, %arg4: f32):
      %12 = "arith.select"(%arg1, %arg2, %arg3) : (i1, f32, f32) -> f32
      "linalg.yield"(%12) : (f32) -> ()
    }) : (tensor<5x5xi1>, tensor<5x5xf32>, tensor<f32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    "func.return"(%11) : (tensor<5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// triu
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (0, d1)>
#map2 = affine_map<(d0, d1) -> (d0, 0)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<5x5xf32>) -> tensor<5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<5x5xf32>):
    %0 = "arith.constant"() <{value = 1 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<f32>}> : () -> tensor<f32>
    %2 = "tensor.empty"() : () -> tensor<5xi64>
    %3 = "linalg.generic"(%2) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg10: i64):
      %15 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %16 = "arith.index_cast"(%15) : (index) -> i64
      "linalg.yield"(%16) : (i64) -> ()
    }) : (tensor<5xi64>) -> tensor<5xi64>
    %4 = "tensor.expand_shape"(%3) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 5>}> : (tensor<5xi64>) -> tensor<1x5xi64>
    %5 = "tensor.expand_shape"(%3) <{reassociation = [[0, 1]], static_output_shape = array<i64: 5, 1>}> : (tensor<5xi64>) -> tensor<5x1xi64>
    %6 = "tensor.empty"() : () -> tensor<5x5xi64>
    %7 = "linalg.generic"(%4, %5, %6) <{indexing_maps = [#map1, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg7: i64, %arg8: i64, %arg9: i64):
      %14 = "arith.subi"(%arg7, %arg8) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%14) : (i64) -> ()
    }) : (tensor<1x5xi64>, tensor<5x1xi64>, tensor<5x5xi64>) -> tensor<5x5xi64>
    %8 = "tensor.empty"() : () -> tensor<5x5xi1>
    %9 = "linalg.generic"(%7, %8) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: i64, %arg6: i1):
      %13 = "arith.cmpi"(%arg5, %0) <{predicate = 5 : i64}> : (i64, i64) -> i1
      "linalg.yield"(%13) : (i1) -> ()
    }) : (tensor<5x5xi64>, tensor<5x5xi1>) -> tensor<5x5xi1>
    %10 = "tensor.empty"() : () -> tensor<5x5xf32>
    %11 = "linalg.generic"(%9, %arg0, %1, %10) <{indexing_maps = [#map3, #map3, #map4, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg1: i1, %arg2: f32, %arg3: f32, %arg4: f32):
      %12 = "arith.select"(%arg1, %arg2, %arg3) : (i1, f32, f32) -> f32
      "linalg.yield"(%12) : (f32) -> ()
    }) : (tensor<5x5xi1>, tensor<5x5xf32>, tensor<f32>, tensor<5x5xf32>) -> tensor<5x5xf32>
    "func.return"(%11) : (tensor<5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// indexsel
#map = affine_map<(d0, d1) -> (d1)>
#map1 = affine_map<(d0, d1) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x5xf32>) -> tensor<3x3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x5xf32>):
    %0 = "arith.constant"() <{value = dense_resource<torch_tensor_3_torch.int64> : tensor<3xi64>}> : () -> tensor<3xi64>
    %1 = "tensor.empty"() : () -> tensor<3x3xf32>
    %2 = "linalg.generic"(%0, %1) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg1: i64, %arg2: f32):
      %3 = "arith.index_cast"(%arg1) : (i64) -> index
      %4 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %5 = "tensor.extract"(%arg0, %4, %3) : (tensor<3x5xf32>, index, index) -> f32
      "linalg.yield"(%5) : (f32) -> ()
    }) : (tensor<3xi64>, tensor<3x3xf32>) -> tensor<3x3xf32>
    "func.return"(%2) : (tensor<3x3xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_3_torch.int64: "0x08000000020000000000000000000000000000000100000000000000"
    }
  }
#-}
// -----
// advidx
#map = affine_map<(d0) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x5xf32>) -> tensor<2xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x5xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 3 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 5 : i64}> : () -> i64
    %3 = "arith.constant"() <{value = dense_resource<torch_tensor_2_torch.int64> : tensor<2xi64>}> : () -> tensor<2xi64>
    %4 = "arith.constant"() <{value = dense_resource<torch_tensor_2_torch.int64_1> : tensor<2xi64>}> : () -> tensor<2xi64>
    %5 = "tensor.empty"() : () -> tensor<2xf32>
    %6 = "linalg.generic"(%3, %4, %5) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: i64, %arg2: i64, %arg3: f32):
      %7 = "arith.cmpi"(%arg1, %0) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %8 = "arith.addi"(%arg1, %1) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %9 = "arith.select"(%7, %8, %arg1) : (i1, i64, i64) -> i64
      %10 = "arith.index_cast"(%9) : (i64) -> index
      %11 = "arith.cmpi"(%arg2, %0) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %12 = "arith.addi"(%arg2, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %13 = "arith.select"(%11, %12, %arg2) : (i1, i64, i64) -> i64
      %14 = "arith.index_cast"(%13) : (i64) -> index
      %15 = "tensor.extract"(%arg0, %10, %14) : (tensor<3x5xf32>, index, index) -> f32
      "linalg.yield"(%15) : (f32) -> ()
    }) : (tensor<2xi64>, tensor<2xi64>, tensor<2xf32>) -> tensor<2xf32>
    "func.return"(%6) : (tensor<2xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_2_torch.int64: "0x0800000000000000000000000200000000000000",
      torch_tensor_2_torch.int64_1: "0x0800000001000000000000000300000000000000"
    }
  }
#-}
// -----
// gather
#map = affine_map<(d0, d1) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x5xf32>, tensor<3x2xi64>) -> tensor<3x2xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x5xf32>, %arg1: tensor<3x2xi64>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 5 : index}> : () -> index
    %2 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %3 = "tensor.empty"() : () -> tensor<3x2xf32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<3x2xf32>) -> tensor<3x2xf32>
    %5 = "linalg.generic"(%arg1, %4) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg2: i64, %arg3: f32):
      %6 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %7 = "arith.index_cast"(%arg2) : (i64) -> index
      %8 = "arith.cmpi"(%7, %1) <{predicate = 2 : i64}> : (index, index) -> i1
      "cf.assert"(%8) <{msg = "index must be smaller than dim size"}> : (i1) -> ()
      %9 = "arith.cmpi"(%arg2, %2) <{predicate = 5 : i64}> : (i64, i64) -> i1
      "cf.assert"(%9) <{msg = "index must be larger or equal to 0"}> : (i1) -> ()
      %10 = "tensor.extract"(%arg0, %6, %7) : (tensor<3x5xf32>, index, index) -> f32
      "linalg.yield"(%10) : (f32) -> ()
    }) : (tensor<3x2xi64>, tensor<3x2xf32>) -> tensor<3x2xf32>
    "func.return"(%5) : (tensor<3x2xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// unfold
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (0, d1)>
#map2 = affine_map<(d0, d1) -> (d0, 0)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1, d2, d3, d4, d5) -> (0, 0, 0, 0, 0, 0)>
#map5 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d1, 0, 0, 0, 0)>
#map6 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3, 0, 0)>
#map7 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map8 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3, d4, d5)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x2x4x4xf32>) -> tensor<1x8x9xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x2x4x4xf32>):
    %0 = "arith.constant"() <{value = 2 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 1 : i64}> : () -> i64
    %3 = "arith.constant"() <{value = 4 : i64}> : () -> i64
    %4 = "tensor.empty"() : () -> tensor<3xi64>
    %5 = "linalg.generic"(%4) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg13: i64):
      %42 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %43 = "arith.index_cast"(%42) : (index) -> i64
      "linalg.yield"(%43) : (i64) -> ()
    }) : (tensor<3xi64>) -> tensor<3xi64>
    %6 = "tensor.expand_shape"(%5) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 3>}> : (tensor<3xi64>) -> tensor<1x3xi64>
    %7 = "tensor.empty"() : () -> tensor<2xi64>
    %8 = "linalg.generic"(%7) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg12: i64):
      %40 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %41 = "arith.index_cast"(%40) : (index) -> i64
      "linalg.yield"(%41) : (i64) -> ()
    }) : (tensor<2xi64>) -> tensor<2xi64>
    %9 = "tensor.expand_shape"(%8) <{reassociation = [[0, 1]], static_output_shape = array<i64: 2, 1>}> : (tensor<2xi64>) -> tensor<2x1xi64>
    %10 = "tensor.empty"() : () -> tensor<2x3xi64>
    %11 = "linalg.generic"(%6, %9, %10) <{indexing_maps = [#map1, #map2, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg9: i64, %arg10: i64, %arg11: i64):
      %39 = "arith.addi"(%arg9, %arg10) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%39) : (i64) -> ()
    }) : (tensor<1x3xi64>, tensor<2x1xi64>, tensor<2x3xi64>) -> tensor<2x3xi64>
    %12 = "tensor.expand_shape"(%11) <{reassociation = [[0], [1, 2, 3]], static_output_shape = array<i64: 2, 3, 1, 1>}> : (tensor<2x3xi64>) -> tensor<2x3x1x1xi64>
    %13 = "tensor.expand_shape"(%8) <{reassociation = [[0, 1, 2, 3, 4]], static_output_shape = array<i64: 2, 1, 1, 1, 1>}> : (tensor<2xi64>) -> tensor<2x1x1x1x1xi64>
    %14 = "tensor.empty"() : () -> tensor<1xi64>
    %15 = "linalg.generic"(%14) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg8: i64):
      "linalg.yield"(%1) : (i64) -> ()
    }) : (tensor<1xi64>) -> tensor<1xi64>
    %16 = "tensor.expand_shape"(%15) <{reassociation = [[0, 1, 2, 3, 4, 5]], static_output_shape = array<i64: 1, 1, 1, 1, 1, 1>}> : (tensor<1xi64>) -> tensor<1x1x1x1x1x1xi64>
    %17 = "tensor.empty"() : () -> tensor<1x2x2x3x2x3xf32>
    %18 = "linalg.generic"(%16, %13, %12, %11, %17) <{indexing_maps = [#map4, #map5, #map6, #map7, #map8], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 4, 1>}> ({
    ^bb0(%arg3: i64, %arg4: i64, %arg5: i64, %arg6: i64, %arg7: f32):
      %22 = "arith.cmpi"(%arg3, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %23 = "arith.addi"(%arg3, %2) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %24 = "arith.select"(%22, %23, %arg3) : (i1, i64, i64) -> i64
      %25 = "arith.index_cast"(%24) : (i64) -> index
      %26 = "arith.cmpi"(%arg4, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %27 = "arith.addi"(%arg4, %0) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %28 = "arith.select"(%26, %27, %arg4) : (i1, i64, i64) -> i64
      %29 = "arith.index_cast"(%28) : (i64) -> index
      %30 = "arith.cmpi"(%arg5, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %31 = "arith.addi"(%arg5, %3) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %32 = "arith.select"(%30, %31, %arg5) : (i1, i64, i64) -> i64
      %33 = "arith.index_cast"(%32) : (i64) -> index
      %34 = "arith.cmpi"(%arg6, %1) <{predicate = 2 : i64}> : (i64, i64) -> i1
      %35 = "arith.addi"(%arg6, %3) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      %36 = "arith.select"(%34, %35, %arg6) : (i1, i64, i64) -> i64
      %37 = "arith.index_cast"(%36) : (i64) -> index
      %38 = "tensor.extract"(%arg0, %25, %29, %33, %37) : (tensor<1x2x4x4xf32>, index, index, index, index) -> f32
      "linalg.yield"(%38) : (f32) -> ()
    }) : (tensor<1x1x1x1x1x1xi64>, tensor<2x1x1x1x1xi64>, tensor<2x3x1x1xi64>, tensor<2x3xi64>, tensor<1x2x2x3x2x3xf32>) -> tensor<1x2x2x3x2x3xf32>
    %19 = "tensor.empty"() : () -> tensor<1x2x2x2x3x3xf32>
    %20 = "linalg.transpose"(%18, %19) <{permutation = array<i64: 0, 1, 2, 4, 3, 5>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      "linalg.yield"(%arg1) : (f32) -> ()
    }) : (tensor<1x2x2x3x2x3xf32>, tensor<1x2x2x2x3x3xf32>) -> tensor<1x2x2x2x3x3xf32>
    %21 = "tensor.collapse_shape"(%20) <{reassociation = [[0], [1, 2, 3], [4, 5]]}> : (tensor<1x2x2x2x3x3xf32>) -> tensor<1x8x9xf32>
    "func.return"(%21) : (tensor<1x8x9xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// pixsh
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x8x3x3xf32>) -> tensor<1x2x6x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x8x3x3xf32>):
    %0 = "tensor.expand_shape"(%arg0) <{reassociation = [[0], [1, 2, 3], [4], [5]], static_output_shape = array<i64: 1, 2, 2, 2, 3, 3>}> : (tensor<1x8x3x3xf32>) -> tensor<1x2x2x2x3x3xf32>
    %1 = "tensor.empty"() : () -> tensor<1x2x3x2x3x2xf32>
    %2 = "linalg.transpose"(%0, %1) <{permutation = array<i64: 0, 1, 4, 2, 5, 3>}> ({
    ^bb0(%arg1: f32, %arg2: f32):
      "linalg.yield"(%arg1) : (f32) -> ()
    }) : (tensor<1x2x2x2x3x3xf32>, tensor<1x2x3x2x3x2xf32>) -> tensor<1x2x3x2x3x2xf32>
    %3 = "tensor.collapse_shape"(%2) <{reassociation = [[0], [1], [2, 3], [4, 5]]}> : (tensor<1x2x3x2x3x2xf32>) -> tensor<1x2x6x6xf32>
    "func.return"(%3) : (tensor<1x2x6x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// up_near
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x2x3x3xf32>) -> tensor<1x2x6x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x2x3x3xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 2.000000e+00 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = 0 : index}> : () -> index
    %3 = "tensor.empty"() : () -> tensor<1x2x6x6xf32>
    %4 = "linalg.generic"(%3) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg1: f32):
      %5 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %6 = "linalg.index"() <{dim = 2 : i64}> : () -> index
      %7 = "linalg.index"() <{dim = 3 : i64}> : () -> index
      %8 = "arith.index_cast"(%6) : (index) -> i64
      %9 = "arith.sitofp"(%8) : (i64) -> f32
      %10 = "arith.divf"(%9, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %11 = "math.floor"(%10) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      %12 = "arith.maximumf"(%11, %0) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %13 = "arith.minimumf"(%12, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %14 = "arith.fptosi"(%13) : (f32) -> i64
      %15 = "arith.index_cast"(%14) : (i64) -> index
      %16 = "arith.index_cast"(%7) : (index) -> i64
      %17 = "arith.sitofp"(%16) : (i64) -> f32
      %18 = "arith.divf"(%17, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %19 = "math.floor"(%18) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      %20 = "arith.maximumf"(%19, %0) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %21 = "arith.minimumf"(%20, %1) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %22 = "arith.fptosi"(%21) : (f32) -> i64
      %23 = "arith.index_cast"(%22) : (i64) -> index
      %24 = "tensor.extract"(%arg0, %2, %5, %15, %23) : (tensor<1x2x3x3xf32>, index, index, index, index) -> f32
      "linalg.yield"(%24) : (f32) -> ()
    }) : (tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
    "func.return"(%4) : (tensor<1x2x6x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// slice_scatter
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x5xf32>, tensor<2x2xf32>) -> tensor<2x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x5xf32>, %arg1: tensor<2x2xf32>):
    %0 = "tensor.insert_slice"(%arg1, %arg0) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 1>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 1>}> : (tensor<2x2xf32>, tensor<2x5xf32>) -> tensor<2x5xf32>
    "func.return"(%0) : (tensor<2x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
