// matvec
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d1)>
#map2 = affine_map<(d0, d1) -> (d0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<3x4xf32>, %arg1: tensor<4xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.empty"() : () -> tensor<3x4xf32>
    %2 = "linalg.generic"(%arg0, %arg1, %1) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32, %arg8: f32):
      %7 = "arith.mulf"(%arg6, %arg7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    %3 = "tensor.empty"() : () -> tensor<3xf32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<3xf32>) -> tensor<3xf32>
    %5 = "linalg.generic"(%2, %4) <{indexing_maps = [#map, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32):
      %6 = "arith.addf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%6) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<3xf32>) -> tensor<3xf32>
    "func.return"(%5) : (tensor<3xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// dot
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0) -> ()>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.empty"() : () -> tensor<4xf32>
    %2 = "linalg.generic"(%arg0, %arg1, %1) <{indexing_maps = [#map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32, %arg8: f32):
      %7 = "arith.mulf"(%arg6, %arg7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %3 = "tensor.empty"() : () -> tensor<f32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (f32, tensor<f32>) -> tensor<f32>
    %5 = "linalg.generic"(%2, %4) <{indexing_maps = [#map, #map1], iterator_types = [#linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32):
      %6 = "arith.addf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%6) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
    "func.return"(%5) : (tensor<f32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// bmm4
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x4x5xf32>, tensor<2x3x5x6xf32>) -> tensor<2x3x4x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x4x5xf32>, %arg1: tensor<2x3x5x6xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<2x3x4x5xf32>) -> tensor<6x4x5xf32>
    %2 = "tensor.collapse_shape"(%arg1) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<2x3x5x6xf32>) -> tensor<6x5x6xf32>
    %3 = "tensor.empty"() : () -> tensor<6x4x6xf32>
    %4 = "linalg.fill"(%0, %3) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: f32, %arg6: f32):
      "linalg.yield"(%arg5) : (f32) -> ()
    }) : (f32, tensor<6x4x6xf32>) -> tensor<6x4x6xf32>
    %5 = "linalg.batch_matmul"(%1, %2, %4) <{indexing_maps = [#map, #map1, #map2], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32, %arg4: f32):
      %7 = "arith.mulf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %8 = "arith.addf"(%arg4, %7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<6x4x5xf32>, tensor<6x5x6xf32>, tensor<6x4x6xf32>) -> tensor<6x4x6xf32>
    %6 = "tensor.expand_shape"(%5) <{reassociation = [[0, 1], [2], [3]], static_output_shape = array<i64: 2, 3, 4, 6>}> : (tensor<6x4x6xf32>) -> tensor<2x3x4x6xf32>
    "func.return"(%6) : (tensor<2x3x4x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// bmmb
#map = affine_map<(d0, d1, d2) -> (d0, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d2, d1)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x4x5xf32>, tensor<5x6xf32>) -> tensor<2x3x4x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x4x5xf32>, %arg1: tensor<5x6xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0, 1, 2], [3]]}> : (tensor<2x3x4x5xf32>) -> tensor<24x5xf32>
    %2 = "tensor.empty"() : () -> tensor<24x6xf32>
    %3 = "linalg.fill"(%0, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg5: f32, %arg6: f32):
      "linalg.yield"(%arg5) : (f32) -> ()
    }) : (f32, tensor<24x6xf32>) -> tensor<24x6xf32>
    %4 = "linalg.matmul"(%1, %arg1, %3) <{indexing_maps = [#map, #map1, #map2], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32, %arg4: f32):
      %6 = "arith.mulf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %7 = "arith.addf"(%arg4, %6) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<24x5xf32>, tensor<5x6xf32>, tensor<24x6xf32>) -> tensor<24x6xf32>
    %5 = "tensor.expand_shape"(%4) <{reassociation = [[0, 1, 2], [3]], static_output_shape = array<i64: 2, 3, 4, 6>}> : (tensor<24x6xf32>) -> tensor<2x3x4x6xf32>
    "func.return"(%5) : (tensor<2x3x4x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// einsum
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x4x5xf32>, tensor<2x6x3x5xf32>) -> tensor<2x4x3x6xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x4x5xf32>, %arg1: tensor<2x6x3x5xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "tensor.expand_shape"(%arg1) <{reassociation = [[0], [1], [2], [3, 4]], static_output_shape = array<i64: 2, 6, 3, 5, 1>}> : (tensor<2x6x3x5xf32>) -> tensor<2x6x3x5x1xf32>
    %2 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<2x3x4x5xf32>) -> tensor<6x4x5xf32>
    %3 = "tensor.empty"() : () -> tensor<2x3x5x6x1xf32>
    %4 = "linalg.transpose"(%1, %3) <{permutation = array<i64: 0, 2, 3, 1, 4>}> ({
    ^bb0(%arg9: f32, %arg10: f32):
      "linalg.yield"(%arg9) : (f32) -> ()
    }) : (tensor<2x6x3x5x1xf32>, tensor<2x3x5x6x1xf32>) -> tensor<2x3x5x6x1xf32>
    %5 = "tensor.collapse_shape"(%4) <{reassociation = [[0, 1], [2], [3, 4]]}> : (tensor<2x3x5x6x1xf32>) -> tensor<6x5x6xf32>
    %6 = "tensor.empty"() : () -> tensor<6x4x6xf32>
    %7 = "linalg.fill"(%0, %6) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32):
      "linalg.yield"(%arg7) : (f32) -> ()
    }) : (f32, tensor<6x4x6xf32>) -> tensor<6x4x6xf32>
    %8 = "linalg.batch_matmul"(%2, %5, %7) <{indexing_maps = [#map, #map1, #map2], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %13 = "arith.mulf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %14 = "arith.addf"(%arg6, %13) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%14) : (f32) -> ()
    }) : (tensor<6x4x5xf32>, tensor<6x5x6xf32>, tensor<6x4x6xf32>) -> tensor<6x4x6xf32>
    %9 = "tensor.expand_shape"(%8) <{reassociation = [[0, 1], [2], [3, 4]], static_output_shape = array<i64: 2, 3, 4, 1, 6>}> : (tensor<6x4x6xf32>) -> tensor<2x3x4x1x6xf32>
    %10 = "tensor.empty"() : () -> tensor<2x4x3x6x1xf32>
    %11 = "linalg.transpose"(%9, %10) <{permutation = array<i64: 0, 2, 1, 4, 3>}> ({
    ^bb0(%arg2: f32, %arg3: f32):
      "linalg.yield"(%arg2) : (f32) -> ()
    }) : (tensor<2x3x4x1x6xf32>, tensor<2x4x3x6x1xf32>) -> tensor<2x4x3x6x1xf32>
    %12 = "tensor.collapse_shape"(%11) <{reassociation = [[0], [1], [2], [3, 4]]}> : (tensor<2x4x3x6x1xf32>) -> tensor<2x4x3x6xf32>
    "func.return"(%12) : (tensor<2x4x3x6xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// outer
#map = affine_map<(d0, d1) -> (d0, 0)>
#map1 = affine_map<(d0, d1) -> (d1)>
#map2 = affine_map<(d0, d1) -> (d0, d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<4xf32>, tensor<5xf32>) -> tensor<4x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<4xf32>, %arg1: tensor<5xf32>):
    %0 = "tensor.expand_shape"(%arg0) <{reassociation = [[0, 1]], static_output_shape = array<i64: 4, 1>}> : (tensor<4xf32>) -> tensor<4x1xf32>
    %1 = "tensor.empty"() : () -> tensor<4x5xf32>
    %2 = "linalg.generic"(%0, %arg1, %1) <{indexing_maps = [#map, #map1, #map2], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg2: f32, %arg3: f32, %arg4: f32):
      %3 = "arith.mulf"(%arg2, %arg3) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%3) : (f32) -> ()
    }) : (tensor<4x1xf32>, tensor<5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32>
    "func.return"(%2) : (tensor<4x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// linear3
#map = affine_map<(d0, d1, d2) -> (d0, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d2, d1)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> (d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3x8xf32>) -> tensor<2x3x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x3x8xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_4_torch.float32> : tensor<4xf32>}> : () -> tensor<4xf32>
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_4_8_torch.float32> : tensor<4x8xf32>}> : () -> tensor<4x8xf32>
    %3 = "tensor.collapse_shape"(%arg0) <{reassociation = [[0, 1], [2]]}> : (tensor<2x3x8xf32>) -> tensor<6x8xf32>
    %4 = "tensor.empty"() : () -> tensor<8x4xf32>
    %5 = "linalg.transpose"(%2, %4) <{permutation = array<i64: 1, 0>}> ({
    ^bb0(%arg9: f32, %arg10: f32):
      "linalg.yield"(%arg9) : (f32) -> ()
    }) : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
    %6 = "tensor.empty"() : () -> tensor<6x4xf32>
    %7 = "linalg.fill"(%0, %6) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg7: f32, %arg8: f32):
      "linalg.yield"(%arg7) : (f32) -> ()
    }) : (f32, tensor<6x4xf32>) -> tensor<6x4xf32>
    %8 = "linalg.matmul"(%3, %5, %7) <{indexing_maps = [#map, #map1, #map2], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32, %arg6: f32):
      %12 = "arith.mulf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %13 = "arith.addf"(%arg6, %12) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%13) : (f32) -> ()
    }) : (tensor<6x8xf32>, tensor<8x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    %9 = "linalg.generic"(%8, %1, %6) <{indexing_maps = [#map3, #map4, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %11 = "arith.addf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%11) : (f32) -> ()
    }) : (tensor<6x4xf32>, tensor<4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    %10 = "tensor.expand_shape"(%9) <{reassociation = [[0, 1], [2]], static_output_shape = array<i64: 2, 3, 4>}> : (tensor<6x4xf32>) -> tensor<2x3x4xf32>
    "func.return"(%10) : (tensor<2x3x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_4_torch.float32: "0x0400000042DA5EBED257163C382A24BE4650A13D",
      torch_tensor_4_8_torch.float32: "0x040000007FBBAF3E9027B3BEB9F13BBE1AC4673EC86A62BD79FB40BEF3DD5C3E5C26C23C38E1623C52EDDBBD1B63883E63D2483E60B6813D4B015D3D2E353B3EBE8D613E3F8214BE73A91EBD71F11E3EAA6F2FBE1943A93E07FF77BEC90F273E480782BE1B7AE83D52DE7C3E0C932E3D442511BDAE39663EB4FA81BE4C4174BE3A489ABE"
    }
  }
#-}
// -----
// conv1d
#map = affine_map<(d0, d1, d2, d3, d4) -> (d0, d3, d2 * 2 + d4)>
#map1 = affine_map<(d0, d1, d2, d3, d4) -> (d1, d3, d4)>
#map2 = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x9xf32>) -> tensor<2x6x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_6_4_3_torch.float32> : tensor<6x4x3xf32>}> : () -> tensor<6x4x3xf32>
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_6_torch.float32> : tensor<6xf32>}> : () -> tensor<6xf32>
    %3 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1>, static_low = array<i64: 0, 0, 1>}> ({
    ^bb0(%arg6: index, %arg7: index, %arg8: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<2x4x9xf32>) -> tensor<2x4x11xf32>
    %4 = "tensor.empty"() : () -> tensor<2x6x5xf32>
    %5 = "linalg.broadcast"(%2, %4) <{dimensions = array<i64: 0, 2>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (tensor<6xf32>, tensor<2x6x5xf32>) -> tensor<2x6x5xf32>
    %6 = "linalg.conv_1d_ncw_fcw"(%3, %1, %5) <{dilations = dense<1> : vector<1xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<1xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %7 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %8 = "arith.addf"(%arg3, %7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<2x4x11xf32>, tensor<6x4x3xf32>, tensor<2x6x5xf32>) -> tensor<2x6x5xf32>
    "func.return"(%6) : (tensor<2x6x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_6_4_3_torch.float32: "0x040000009043403E08EB763E79B411BE75604E3D91C117BED6417D3D670C09BEB44EE6BDBBE145BEEF8076BE4BE56B3EC95115BDF33503BCE01C13BE52094E3E0B3229BEE51EEFBD96C066BE2C9178BEA437833E7D4364BEFC3D23BD7B21ABBD3E8DD83D26219E3D5A9B62BEA5BC843EE33A93BE36E5E93C1C91C5BCAF0189BDA171493E3595793E76061A3D48D0D0BD24C45B3EF7B7393EFB5E543DA7B3A1BDDB66473C18BC833EEF39003D2E0369BD2C467ABE9F681EBEBA7E553E4E8C26BC247B9DBC5031E63D457C42BE1AC09FBC8C47A6BD75AA1A3EAE91703E919C393E84635C3E341784BE64E3D1BD40040C3D75127BBED260A03D38C341BEE456FD3D4B3F6F3EA4DF7CBED4B2773ECEED093E361343BEF2788D3E620280BE880147BEEE0B13BE",
      torch_tensor_6_torch.float32: "0x0400000094806FBC8253543D7580ADBDE9178CBEE07C08BD6B47603E"
    }
  }
#-}
// -----
// conv2d
#map = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 * 2 + d5 * 2, d3 * 2 + d6 * 2)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x6x4x4xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_6_4_3_3_torch.float32> : tensor<6x4x3x3xf32>}> : () -> tensor<6x4x3x3xf32>
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_6_torch.float32> : tensor<6xf32>}> : () -> tensor<6xf32>
    %3 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg6: index, %arg7: index, %arg8: index, %arg9: index):
      "tensor.yield"(%0) : (f32) -> ()
    }) : (tensor<1x4x9x9xf32>) -> tensor<1x4x11x11xf32>
    %4 = "tensor.empty"() : () -> tensor<1x6x4x4xf32>
    %5 = "linalg.broadcast"(%2, %4) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (tensor<6xf32>, tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32>
    %6 = "linalg.conv_2d_nchw_fchw"(%3, %1, %5) <{dilations = dense<2> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %7 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %8 = "arith.addf"(%arg3, %7) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x4x11x11xf32>, tensor<6x4x3x3xf32>, tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32>
    "func.return"(%6) : (tensor<1x6x4x4xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_6_4_3_3_torch.float32: "0x04000000A00F3A3D6BF955BC6AEF07BEDC2915BEC801EBBD50352DBDC3C2C63D23D48CBD2B1DD4BB00271ABB561FDFBDD6D693BBAFC9243EF767083EA7FB013E6BA886BCABB6413B369ABA3DB61263BD23558ABD3F05123EC0E51B3C7678E6BDFCCD0F3E409DE23C0BA2B63DCA3914BE005EFD3CD6C6D03D4BF8C4BCF303C2BD2B8B083EE6C29E3D666D423DD672213DAB14713B4BBEC33D7B3C15BD90ECC8BD6656823DEB21363D53F6813D2BA697BC8B2FB5BCD60759BCE601343D6AF602BE4C121FBE7B737F3D9BE1BABD16B665BC36413D3D3680BF3C6E0BDC3D00F9B23CEB02293DAB6C74BC6089C93C3B517A3DD0DCE83D6FB521BED82F8EBD502519BE701688BDE011D03DFEB421BEA2EB18BECEA3C53DEB91C9BD0E78F93D26B6543D505C2B3D6A94073E74161EBEEEF4F93D20635D3D13BBE4BDDB19263D46423EBD060289BDCBDE93BC3EEDA0BDBA3C153EA7E4123E8BA691BCDE5717BEC00C27BC966A343C8627E43DABB6AF3BFBAF463DB022353D4EACC1BD7BB9D3BD6A8918BE008CABBA2671533DD62942BC0EA9253E2B3A02BDAEBADEBDA08EE33C1B3F40BD362CBBBC125E253E00B39CBB9F15153E8B55B63C86F77DBD7040FA3DEE6EC2BDD6B2B43B1B72193DBB33993D9C771DBE6BF4053C80C130BD1E4FDD3DD6AD653D2ECE883DE33ACD3D0BD618BDD6F32EBCFFEA083E348E09BEB3EFEBBD16C3473C283687BD56631C3C97C2163E40469EBC2C8411BE98299BBD0FBC1C3E80F915BDC8AA95BDA8A4993DEB05A93C2B7916BE02210E3E9836C03D4757143E035E953DEB2966BDCBDA5EBDEE6AA53D6B5604BDD6D6053DBE5F25BE8BBAA8BD2B937D3D6B9E06BCA318A4BDF3DD14BE13F0D83D964109BD86AF27BE13A8243E161AA63D302ACCBDA31DF9BDDAEA243E006C363A1849CDBD4E6BC43DE6320EBD160F3B3CE0CFB1BDC48D10BEEEAFE2BDEBEA95BC831BF7BDE835283E566FEC3A5BAC82BDDEE6863DC84E17BEDE96AEBD8634803D540211BE1E1FAA3DD686653C984D0EBE076029BEDBC1573D6356A13D2B7808BDB6E916BEEBB9C4BDC01C913C56B0C63B36BF2E3D206BF13CAB210FBC7321B43D8B8C253E30220E3EA8141B3EFB6666BD160169BDF60197BCA6C4493D1B2A8A3DAB6673BCE679DCBD9CC400BED24D243EF68937BDEB8CB8BC8B30D1BD2838A9BDD0F0153DD6C38F3DE6EF86BD4B457BBDF731073E",
      torch_tensor_6_torch.float32: "0x04000000D8CAAFBDE3A9FEBD6B03D5BC9A65223E6B8A143D0BA7BC3C"
    }
  }
#-}
// -----
// convg
#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d5, d3 + d6, d4 + d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d5, d6, d7)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d2, d3, d4)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x9x9xf32>) -> tensor<1x6x7x7xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x9x9xf32>):
    %0 = "arith.constant"() <{value = dense_resource<torch_tensor_6_2_3_3_torch.float32> : tensor<6x2x3x3xf32>}> : () -> tensor<6x2x3x3xf32>
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_6_torch.float32> : tensor<6xf32>}> : () -> tensor<6xf32>
    %2 = "tensor.empty"() : () -> tensor<1x6x7x7xf32>
    %3 = "linalg.broadcast"(%1, %2) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (tensor<6xf32>, tensor<1x6x7x7xf32>) -> tensor<1x6x7x7xf32>
    %4 = "tensor.expand_shape"(%arg0) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 1, 2, 2, 9, 9>}> : (tensor<1x4x9x9xf32>) -> tensor<1x2x2x9x9xf32>
    %5 = "tensor.expand_shape"(%0) <{reassociation = [[0, 1], [2], [3], [4]], static_output_shape = array<i64: 2, 3, 2, 3, 3>}> : (tensor<6x2x3x3xf32>) -> tensor<2x3x2x3x3xf32>
    %6 = "tensor.expand_shape"(%3) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 1, 2, 3, 7, 7>}> : (tensor<1x6x7x7xf32>) -> tensor<1x2x3x7x7xf32>
    %7 = "linalg.conv_2d_ngchw_gfchw"(%4, %5, %6) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %9 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %10 = "arith.addf"(%arg3, %9) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%10) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x2x2x9x9xf32>, tensor<2x3x2x3x3xf32>, tensor<1x2x3x7x7xf32>) -> tensor<1x2x3x7x7xf32>
    %8 = "tensor.collapse_shape"(%7) <{reassociation = [[0], [1, 2], [3], [4]]}> : (tensor<1x2x3x7x7xf32>) -> tensor<1x6x7x7xf32>
    "func.return"(%8) : (tensor<1x6x7x7xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_6_2_3_3_torch.float32: "0x040000007BA42DBE2397163DFAF606BD4A9F3B3C5962D13D13AACA3DD24B98BD519D843C0456653D7867A43B9531413D518BC3BDF1D5453EDA0CC6BCCF0BF7BC749F58BE1BF42EBE9F40F03BDD4E15BD74B3F2BDDDADFC3DDDDCACBC2BC4A93DE5494B3EA1EDDDBD9D94EDBD710042BD2182A3BC0770F1BD38C967BD289FDEBB5387D83DE84B5F3E82BA323E975ACC3CD15A73BC994C773D96A41DBCCD66FDBC15FEA53DAD5E44BEBA424DBE6B477A3A9C4F92BD45C3EEBD08B160BE42AD213EF9DD19BC20AD01BEE7A1C4BDF5D07D3DC40A2FBE4D06783C627D3EBBB171A43D057EBF3DF5B21DBEED6ED03D2E41363EF99D783C44ECF53D47C0B6BD91C33F3DAC0C8D3D7FF5DEBDF304153E533464BE8F53B5BD43030EBE9C470FBE7D4012BE336E63BE63AF253DBFFA3EBD1A3A4BBE0F4BCBB8E1D220BD5522C73DA10D3DBE06CD87BD53B8463D2D9ECC3DFD11923CD8D0823D5245713E2C38A7BD407F243E68E74F3E9C8255BE9588693DBDB7083E7E9816BDA934053E585A033C1DBE373E4F4CA63B05861ABE234C373EFE8F8F3D49574D3EC5A96F3DD629003E7C7D163E1091223D576E60BD5C65473DA34928BE03EE033C",
      torch_tensor_6_torch.float32: "0x0400000012279BBDFF27743C22193FBED579133E53AE5EBE4DB8CE3D"
    }
  }
#-}
// -----
// convdw
#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d5, d3 + d6, d4 + d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d5, d6, d7)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d2, d3, d4)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x9x9xf32>) -> tensor<2x8x7x7xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x9x9xf32>):
    %0 = "arith.constant"() <{value = dense_resource<torch_tensor_8_1_3_3_torch.float32> : tensor<8x1x3x3xf32>}> : () -> tensor<8x1x3x3xf32>
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_8_torch.float32> : tensor<8xf32>}> : () -> tensor<8xf32>
    %2 = "tensor.empty"() : () -> tensor<2x8x7x7xf32>
    %3 = "linalg.broadcast"(%1, %2) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (tensor<8xf32>, tensor<2x8x7x7xf32>) -> tensor<2x8x7x7xf32>
    %4 = "tensor.expand_shape"(%arg0) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 2, 4, 1, 9, 9>}> : (tensor<2x4x9x9xf32>) -> tensor<2x4x1x9x9xf32>
    %5 = "tensor.expand_shape"(%0) <{reassociation = [[0, 1], [2], [3], [4]], static_output_shape = array<i64: 4, 2, 1, 3, 3>}> : (tensor<8x1x3x3xf32>) -> tensor<4x2x1x3x3xf32>
    %6 = "tensor.expand_shape"(%3) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 2, 4, 2, 7, 7>}> : (tensor<2x8x7x7xf32>) -> tensor<2x4x2x7x7xf32>
    %7 = "linalg.conv_2d_ngchw_gfchw"(%4, %5, %6) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %9 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %10 = "arith.addf"(%arg3, %9) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%10) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<2x4x1x9x9xf32>, tensor<4x2x1x3x3xf32>, tensor<2x4x2x7x7xf32>) -> tensor<2x4x2x7x7xf32>
    %8 = "tensor.collapse_shape"(%7) <{reassociation = [[0], [1, 2], [3], [4]]}> : (tensor<2x4x2x7x7xf32>) -> tensor<2x8x7x7xf32>
    "func.return"(%8) : (tensor<2x8x7x7xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_8_1_3_3_torch.float32: "0x0400000080102F3ECBB36CBD00B0A5BE3BDB5BBE402193BC20C91B3EEBBFE4BDAE595CBEB6A06DBE54B3983E8B35F73D2F918ABE53CC52BECAE090BE008A453D889A0ABEABE693BA4BFE57BD466495BE1B8398BEBC5F84BE38F40EBE565B543D6B8520BE00AB42BC408B23BDDC149C3E869A1BBEDB58A03EBE0483BEA6648EBEB6FFDD3D83A746BE00142F3E7ED73CBEDC64863E5341A53EEBD0AE3C40E6913DB21D9F3E16594A3E6EFD94BEABD22EBC960E9ABEB85E823E20157ABD004618BB2EB651BEF89939BE9631313DEBCF8C3E7B922BBEEB03013D167D9A3E2AF4983E207785BD94F59F3E1B9BF83DD76F9B3E2B09223C9EA390BE16D3B9BDA6C0CC3D3306363EFE04AABEC4C0843ED71999BE86FE473E1A64A83E7B3BA83D30D780BDA3F03B3E",
      torch_tensor_8_torch.float32: "0x04000000FB9DCABD36D67CBE763D72BE207D203E9E57823E00255D3C087AA5BECCB2A7BE"
    }
  }
#-}
// -----
// convt
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x4x5x5xf32>) -> tensor<1x3x9x9xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x4x5x5xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = dense_resource<torch_tensor_4_3_3_3_torch.float32> : tensor<4x3x3x3xf32>}> : () -> tensor<4x3x3x3xf32>
    %2 = "arith.constant"() <{value = dense_resource<torch_tensor_3_torch.float32> : tensor<3xf32>}> : () -> tensor<3xf32>
    %3 = "arith.constant"() <{value = 2 : index}> : () -> index
    %4 = "tensor.empty"() : () -> tensor<3x4x3x3xf32>
    %5 = "linalg.fill"(%0, %4) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg9: f32, %arg10: f32):
      "linalg.yield"(%arg9) : (f32) -> ()
    }) : (f32, tensor<3x4x3x3xf32>) -> tensor<3x4x3x3xf32>
    %6 = "linalg.generic"(%5) <{indexing_maps = [#map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg8: f32):
      %15 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %16 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %17 = "linalg.index"() <{dim = 2 : i64}> : () -> index
      %18 = "linalg.index"() <{dim = 3 : i64}> : () -> index
      %19 = "arith.subi"(%3, %17) <{overflowFlags = #arith.overflow<none>}> : (index, index) -> index
      %20 = "arith.subi"(%3, %18) <{overflowFlags = #arith.overflow<none>}> : (index, index) -> index
      %21 = "tensor.extract"(%1, %16, %15, %19, %20) : (tensor<4x3x3x3xf32>, index, index, index, index) -> f32
      "linalg.yield"(%21) : (f32) -> ()
    }) : (tensor<3x4x3x3xf32>) -> tensor<3x4x3x3xf32>
    %7 = "tensor.empty"() : () -> tensor<1x4x11x11xf32>
    %8 = "linalg.fill"(%0, %7) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<1x4x11x11xf32>) -> tensor<1x4x11x11xf32>
    %9 = "tensor.insert_slice"(%arg0, %8) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 0, 1, 1>, static_sizes = array<i64: 1, 4, 5, 5>, static_strides = array<i64: 1, 1, 2, 2>}> : (tensor<1x4x5x5xf32>, tensor<1x4x11x11xf32>) -> tensor<1x4x11x11xf32>
    %10 = "tensor.empty"() : () -> tensor<1x3x9x9xf32>
    %11 = "linalg.broadcast"(%2, %10) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      "linalg.yield"(%arg4) : (f32) -> ()
    }) : (tensor<3xf32>, tensor<1x3x9x9xf32>) -> tensor<1x3x9x9xf32>
    %12 = "linalg.conv_2d_nchw_fchw"(%9, %6, %11) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %13 = "arith.mulf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %14 = "arith.addf"(%arg3, %13) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%14) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map1, #map2, #map3]} : (tensor<1x4x11x11xf32>, tensor<3x4x3x3xf32>, tensor<1x3x9x9xf32>) -> tensor<1x3x9x9xf32>
    "func.return"(%12) : (tensor<1x3x9x9xf32>) -> ()
  }) : () -> ()
}) : () -> ()

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_4_3_3_3_torch.float32: "0x04000000905C2E3E3C11C43D7D0B51BD6DC9143E31392CBE3BAA283EBE85DC3DDB8A10BE62BB20BEEB1C1A3E3569423E2393893CEB009ABD576DE03D13D0B13DC5C1C4BCD7C61D3E5778FF3D8C84443DC3A5CC3DFE9738BE199EB8BDAED1AC3CAC5D563D0588D7BC4CD2943DC121703DC12136BEF1A2783D922E80BCAF9C07BE6ED2D43B2FDE41BD8C4DD1BD939333BE49DC243EC65BEFBD9CBFD33C33DF1D3E2E9EC6BC662901BEE3A73EBE8CF9023D70C3C5BD62F1653CBACA7B3D77585FBD509F053E4128CDBC954B9DBD304D02BE062A6F3D7BADF3BDC7B3253DEEF9C6BCC46F073E3239C1BD3A29C2BDBDBECBBC6DBBF0BD3D43963D515F90BD7CB4A13D2FBFE43D9C26E63D6DB610BD6318D73DFEB4D0BD765944BE4C0A96BC5AE30EBEC0AC18BE6B60483D6D66283E3B1B9BBD315D32BC7BC60EBECDC5093D29BC603D4102F2BC92EF153E419B1EBE1186D3BC33C6DABDD0092D3E92EB263EFBD8413EE54F353ED4199C3D05E616BECAAC05BED2F73C3D99F12FBEA985F93D3959AB3D08143C3D8E012CBE7D5B0F3EECDAA6BC2665A5BD82C8CD3D3F3A853C1054AFBD8F7F383DBE6A03BE9A28373EF8BA2C3EEBC4B53D",
      torch_tensor_3_torch.float32: "0x040000008382D03DD1E543BEA418DBBD"
    }
  }
#-}
// -----
// sdpa
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>
#map3 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
#map4 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x2x4x8xf32>, %arg1: tensor<1x2x4x8xf32>, %arg2: tensor<1x2x4x8xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %2 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = true}> : () -> i1
    %4 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<1x2x4x4xf32>}> : () -> tensor<1x2x4x4xf32>
    %5 = "arith.constant"() <{value = 0xFFF0000000000000 : f64}> : () -> f64
    %6 = "arith.constant"() <{value = 0.59460355750136051 : f64}> : () -> f64
    %7 = "tensor.empty"() : () -> tensor<1x2x4x8xf32>
    %8 = "linalg.generic"(%arg0, %7) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg46: f32, %arg47: f32):
      %62 = "arith.truncf"(%6) : (f64) -> f32
      %63 = "arith.mulf"(%arg46, %62) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%63) : (f32) -> ()
    }) : (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>
    %9 = "tensor.empty"() : () -> tensor<1x2x8x4xf32>
    %10 = "linalg.transpose"(%arg1, %9) <{permutation = array<i64: 0, 1, 3, 2>}> ({
    ^bb0(%arg44: f32, %arg45: f32):
      "linalg.yield"(%arg44) : (f32) -> ()
    }) : (tensor<1x2x4x8xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    %11 = "linalg.generic"(%10, %9) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg42: f32, %arg43: f32):
      %60 = "arith.truncf"(%6) : (f64) -> f32
      %61 = "arith.mulf"(%arg42, %60) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%61) : (f32) -> ()
    }) : (tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    %12 = "tensor.collapse_shape"(%8) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x8xf32>) -> tensor<2x4x8xf32>
    %13 = "tensor.collapse_shape"(%11) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x8x4xf32>) -> tensor<2x8x4xf32>
    %14 = "tensor.empty"() : () -> tensor<2x4x4xf32>
    %15 = "linalg.fill"(%0, %14) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg40: f32, %arg41: f32):
      "linalg.yield"(%arg40) : (f32) -> ()
    }) : (f32, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %16 = "linalg.batch_matmul"(%12, %13, %15) <{indexing_maps = [#map1, #map2, #map3], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg37: f32, %arg38: f32, %arg39: f32):
      %58 = "arith.mulf"(%arg37, %arg38) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %59 = "arith.addf"(%arg39, %58) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%59) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x8x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %17 = "tensor.expand_shape"(%16) <{reassociation = [[0, 1], [2], [3]], static_output_shape = array<i64: 1, 2, 4, 4>}> : (tensor<2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %18 = "tensor.empty"() : () -> tensor<1x2x4xi64>
    %19 = "linalg.fill"(%1, %18) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg35: i64, %arg36: i64):
      "linalg.yield"(%arg35) : (i64) -> ()
    }) : (i64, tensor<1x2x4xi64>) -> tensor<1x2x4xi64>
    %20 = "tensor.empty"() : () -> tensor<1x2x4xf32>
    %21 = "linalg.fill"(%2, %20) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg33: f32, %arg34: f32):
      "linalg.yield"(%arg33) : (f32) -> ()
    }) : (f32, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %22:2 = "linalg.generic"(%17, %21, %19) <{indexing_maps = [#map, #map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg30: f32, %arg31: f32, %arg32: i64):
      %53 = "linalg.index"() <{dim = 3 : i64}> : () -> index
      %54 = "arith.index_cast"(%53) : (index) -> i64
      %55 = "arith.maximumf"(%arg30, %arg31) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %56 = "arith.cmpf"(%arg30, %arg31) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %57 = "arith.select"(%56, %54, %arg32) : (i1, i64, i64) -> i64
      "linalg.yield"(%55, %57) : (f32, i64) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xi64>) -> (tensor<1x2x4xf32>, tensor<1x2x4xi64>)
    %23 = "tensor.expand_shape"(%22#0) <{reassociation = [[0], [1], [2, 3]], static_output_shape = array<i64: 1, 2, 4, 1>}> : (tensor<1x2x4xf32>) -> tensor<1x2x4x1xf32>
    %24 = "tensor.empty"() : () -> tensor<1x2x4x4xf32>
    %25 = "linalg.generic"(%17, %23, %24) <{indexing_maps = [#map, #map4, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg27: f32, %arg28: f32, %arg29: f32):
      %52 = "arith.subf"(%arg27, %arg28) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%52) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %26 = "linalg.generic"(%25, %24) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg25: f32, %arg26: f32):
      %51 = "math.exp"(%arg25) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%51) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %27 = "tensor.empty"() : () -> tensor<1x2x4x1xf32>
    %28 = "linalg.fill"(%0, %27) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg23: f32, %arg24: f32):
      "linalg.yield"(%arg23) : (f32) -> ()
    }) : (f32, tensor<1x2x4x1xf32>) -> tensor<1x2x4x1xf32>
    %29 = "linalg.generic"(%26, %28) <{indexing_maps = [#map, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f32):
      %50 = "arith.addf"(%arg21, %arg22) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%50) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>) -> tensor<1x2x4x1xf32>
    %30 = "linalg.generic"(%26, %29, %24) <{indexing_maps = [#map, #map4, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg18: f32, %arg19: f32, %arg20: f32):
      %49 = "arith.divf"(%arg18, %arg19) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%49) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %31 = "tensor.empty"() : () -> tensor<1x2x4x4xi1>
    %32 = "linalg.generic"(%17, %31) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg16: f32, %arg17: i1):
      %47 = "arith.extf"(%arg16) : (f32) -> f64
      %48 = "arith.cmpf"(%47, %5) <{fastmath = #arith.fastmath<none>, predicate = 1 : i64}> : (f64, f64) -> i1
      "linalg.yield"(%48) : (i1) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xi1>) -> tensor<1x2x4x4xi1>
    %33 = "tensor.empty"() : () -> tensor<1x2x4x1xi1>
    %34 = "linalg.fill"(%3, %33) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg14: i1, %arg15: i1):
      "linalg.yield"(%arg14) : (i1) -> ()
    }) : (i1, tensor<1x2x4x1xi1>) -> tensor<1x2x4x1xi1>
    %35 = "linalg.generic"(%32, %34) <{indexing_maps = [#map, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg12: i1, %arg13: i1):
      %46 = "arith.andi"(%arg12, %arg13) : (i1, i1) -> i1
      "linalg.yield"(%46) : (i1) -> ()
    }) : (tensor<1x2x4x4xi1>, tensor<1x2x4x1xi1>) -> tensor<1x2x4x1xi1>
    %36 = "linalg.generic"(%35, %4, %30, %24) <{indexing_maps = [#map4, #map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg8: i1, %arg9: f32, %arg10: f32, %arg11: f32):
      %45 = "arith.select"(%arg8, %arg9, %arg10) : (i1, f32, f32) -> f32
      "linalg.yield"(%45) : (f32) -> ()
    }) : (tensor<1x2x4x1xi1>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %37 = "tensor.collapse_shape"(%36) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x4xf32>) -> tensor<2x4x4xf32>
    %38 = "tensor.collapse_shape"(%arg2) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x8xf32>) -> tensor<2x4x8xf32>
    %39 = "tensor.empty"() : () -> tensor<2x4x8xf32>
    %40 = "linalg.fill"(%0, %39) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %41 = "linalg.batch_matmul"(%37, %38, %40) <{indexing_maps = [#map1, #map2, #map3], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg3: f32, %arg4: f32, %arg5: f32):
      %43 = "arith.mulf"(%arg3, %arg4) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %44 = "arith.addf"(%arg5, %43) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%44) : (f32) -> ()
    }) : (tensor<2x4x4xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %42 = "tensor.expand_shape"(%41) <{reassociation = [[0, 1], [2], [3]], static_output_shape = array<i64: 1, 2, 4, 8>}> : (tensor<2x4x8xf32>) -> tensor<1x2x4x8xf32>
    "func.return"(%42) : (tensor<1x2x4x8xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// sdpac
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0) -> (d0)>
#map2 = affine_map<(d0, d1) -> (0, d1)>
#map3 = affine_map<(d0, d1) -> (d0, 0)>
#map4 = affine_map<(d0, d1) -> (d0, d1)>
#map5 = affine_map<(d0, d1) -> ()>
#map6 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#map7 = affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>
#map8 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
#map9 = affine_map<(d0, d1, d2, d3) -> (d2, d3)>
#map10 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<1x2x4x8xf32>, %arg1: tensor<1x2x4x8xf32>, %arg2: tensor<1x2x4x8xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = true}> : () -> i1
    %4 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<1x2x4x4xf32>}> : () -> tensor<1x2x4x4xf32>
    %5 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<f32>}> : () -> tensor<f32>
    %6 = "arith.constant"() <{value = dense<0xFF800000> : tensor<f32>}> : () -> tensor<f32>
    %7 = "arith.constant"() <{value = dense<true> : tensor<4x4xi1>}> : () -> tensor<4x4xi1>
    %8 = "arith.constant"() <{value = 0xFFF0000000000000 : f64}> : () -> f64
    %9 = "arith.constant"() <{value = 0.59460355750136051 : f64}> : () -> f64
    %10 = "tensor.empty"() : () -> tensor<1x2x4x8xf32>
    %11 = "linalg.generic"(%arg0, %10) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg62: f32, %arg63: f32):
      %84 = "arith.truncf"(%9) : (f64) -> f32
      %85 = "arith.mulf"(%arg62, %84) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%85) : (f32) -> ()
    }) : (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>
    %12 = "tensor.empty"() : () -> tensor<4xi64>
    %13 = "linalg.generic"(%12) <{indexing_maps = [#map1], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 0, 1>}> ({
    ^bb0(%arg61: i64):
      %82 = "linalg.index"() <{dim = 0 : i64}> : () -> index
      %83 = "arith.index_cast"(%82) : (index) -> i64
      "linalg.yield"(%83) : (i64) -> ()
    }) : (tensor<4xi64>) -> tensor<4xi64>
    %14 = "tensor.expand_shape"(%13) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 4>}> : (tensor<4xi64>) -> tensor<1x4xi64>
    %15 = "tensor.expand_shape"(%13) <{reassociation = [[0, 1]], static_output_shape = array<i64: 4, 1>}> : (tensor<4xi64>) -> tensor<4x1xi64>
    %16 = "tensor.empty"() : () -> tensor<4x4xi64>
    %17 = "linalg.generic"(%14, %15, %16) <{indexing_maps = [#map2, #map3, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg58: i64, %arg59: i64, %arg60: i64):
      %81 = "arith.subi"(%arg58, %arg59) <{overflowFlags = #arith.overflow<none>}> : (i64, i64) -> i64
      "linalg.yield"(%81) : (i64) -> ()
    }) : (tensor<1x4xi64>, tensor<4x1xi64>, tensor<4x4xi64>) -> tensor<4x4xi64>
    %18 = "tensor.empty"() : () -> tensor<4x4xi1>
    %19 = "linalg.generic"(%17, %18) <{indexing_maps = [#map4, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg56: i64, %arg57: i1):
      %80 = "arith.cmpi"(%arg56, %0) <{predicate = 3 : i64}> : (i64, i64) -> i1
      "linalg.yield"(%80) : (i1) -> ()
    }) : (tensor<4x4xi64>, tensor<4x4xi1>) -> tensor<4x4xi1>
    %20 = "linalg.generic"(%19, %7, %18) <{indexing_maps = [#map4, #map4, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg53: i1, %arg54: i1, %arg55: i1):
      %79 = "arith.andi"(%arg53, %arg54) : (i1, i1) -> i1
      "linalg.yield"(%79) : (i1) -> ()
    }) : (tensor<4x4xi1>, tensor<4x4xi1>, tensor<4x4xi1>) -> tensor<4x4xi1>
    %21 = "tensor.empty"() : () -> tensor<4x4xf32>
    %22 = "linalg.generic"(%20, %5, %6, %21) <{indexing_maps = [#map4, #map5, #map5, #map4], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg49: i1, %arg50: f32, %arg51: f32, %arg52: f32):
      %78 = "arith.select"(%arg49, %arg50, %arg51) : (i1, f32, f32) -> f32
      "linalg.yield"(%78) : (f32) -> ()
    }) : (tensor<4x4xi1>, tensor<f32>, tensor<f32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %23 = "tensor.empty"() : () -> tensor<1x2x8x4xf32>
    %24 = "linalg.transpose"(%arg1, %23) <{permutation = array<i64: 0, 1, 3, 2>}> ({
    ^bb0(%arg47: f32, %arg48: f32):
      "linalg.yield"(%arg47) : (f32) -> ()
    }) : (tensor<1x2x4x8xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    %25 = "linalg.generic"(%24, %23) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg45: f32, %arg46: f32):
      %76 = "arith.truncf"(%9) : (f64) -> f32
      %77 = "arith.mulf"(%arg45, %76) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%77) : (f32) -> ()
    }) : (tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    %26 = "tensor.collapse_shape"(%11) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x8xf32>) -> tensor<2x4x8xf32>
    %27 = "tensor.collapse_shape"(%25) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x8x4xf32>) -> tensor<2x8x4xf32>
    %28 = "tensor.empty"() : () -> tensor<2x4x4xf32>
    %29 = "linalg.fill"(%1, %28) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg43: f32, %arg44: f32):
      "linalg.yield"(%arg43) : (f32) -> ()
    }) : (f32, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %30 = "linalg.batch_matmul"(%26, %27, %29) <{indexing_maps = [#map6, #map7, #map8], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg40: f32, %arg41: f32, %arg42: f32):
      %74 = "arith.mulf"(%arg40, %arg41) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %75 = "arith.addf"(%arg42, %74) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%75) : (f32) -> ()
    }) : (tensor<2x4x8xf32>, tensor<2x8x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %31 = "tensor.expand_shape"(%30) <{reassociation = [[0, 1], [2], [3]], static_output_shape = array<i64: 1, 2, 4, 4>}> : (tensor<2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %32 = "tensor.empty"() : () -> tensor<1x2x4x4xf32>
    %33 = "linalg.generic"(%31, %22, %32) <{indexing_maps = [#map, #map9, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg37: f32, %arg38: f32, %arg39: f32):
      %73 = "arith.addf"(%arg37, %arg38) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%73) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %34 = "tensor.empty"() : () -> tensor<1x2x4xi64>
    %35 = "linalg.fill"(%0, %34) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg35: i64, %arg36: i64):
      "linalg.yield"(%arg35) : (i64) -> ()
    }) : (i64, tensor<1x2x4xi64>) -> tensor<1x2x4xi64>
    %36 = "tensor.empty"() : () -> tensor<1x2x4xf32>
    %37 = "linalg.fill"(%2, %36) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg33: f32, %arg34: f32):
      "linalg.yield"(%arg33) : (f32) -> ()
    }) : (f32, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %38:2 = "linalg.generic"(%33, %37, %35) <{indexing_maps = [#map, #map8, #map8], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg30: f32, %arg31: f32, %arg32: i64):
      %68 = "linalg.index"() <{dim = 3 : i64}> : () -> index
      %69 = "arith.index_cast"(%68) : (index) -> i64
      %70 = "arith.maximumf"(%arg30, %arg31) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %71 = "arith.cmpf"(%arg30, %arg31) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %72 = "arith.select"(%71, %69, %arg32) : (i1, i64, i64) -> i64
      "linalg.yield"(%70, %72) : (f32, i64) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xi64>) -> (tensor<1x2x4xf32>, tensor<1x2x4xi64>)
    %39 = "tensor.expand_shape"(%38#0) <{reassociation = [[0], [1], [2, 3]], static_output_shape = array<i64: 1, 2, 4, 1>}> : (tensor<1x2x4xf32>) -> tensor<1x2x4x1xf32>
    %40 = "linalg.generic"(%33, %39, %32) <{indexing_maps = [#map, #map10, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg27: f32, %arg28: f32, %arg29: f32):
      %67 = "arith.subf"(%arg27, %arg28) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%67) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %41 = "linalg.generic"(%40, %32) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg25: f32, %arg26: f32):
      %66 = "math.exp"(%arg25) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%66) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %42 = "tensor.empty"() : () -> tensor<1x2x4x1xf32>
    %43 = "linalg.fill"(%1, %42) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg23: f32, %arg24: f32):
      "linalg.yield"(%arg23) : (f32) -> ()
    }) : (f32, tensor<1x2x4x1xf32>) -> tensor<1x2x4x1xf32>
    %44 = "linalg.generic"(%41, %43) <{indexing_maps = [#map, #map10], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f32):
      %65 = "arith.addf"(%arg21, %arg22) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%65) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>) -> tensor<1x2x4x1xf32>
    %45 = "linalg.generic"(%41, %44, %32) <{indexing_maps = [#map, #map10, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg18: f32, %arg19: f32, %arg20: f32):
      %64 = "arith.divf"(%arg18, %arg19) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%64) : (f32) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %46 = "tensor.empty"() : () -> tensor<1x2x4x4xi1>
    %47 = "linalg.generic"(%33, %46) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg16: f32, %arg17: i1):
      %62 = "arith.extf"(%arg16) : (f32) -> f64
      %63 = "arith.cmpf"(%62, %8) <{fastmath = #arith.fastmath<none>, predicate = 1 : i64}> : (f64, f64) -> i1
      "linalg.yield"(%63) : (i1) -> ()
    }) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xi1>) -> tensor<1x2x4x4xi1>
    %48 = "tensor.empty"() : () -> tensor<1x2x4x1xi1>
    %49 = "linalg.fill"(%3, %48) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg14: i1, %arg15: i1):
      "linalg.yield"(%arg14) : (i1) -> ()
    }) : (i1, tensor<1x2x4x1xi1>) -> tensor<1x2x4x1xi1>
    %50 = "linalg.generic"(%47, %49) <{indexing_maps = [#map, #map10], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg12: i1, %arg13: i1):
      %61 = "arith.andi"(%arg12, %arg13) : (i1, i1) -> i1
      "linalg.yield"(%61) : (i1) -> ()
    }) : (tensor<1x2x4x4xi1>, tensor<1x2x4x1xi1>) -> tensor<1x2x4x1xi1>
    %51 = "linalg.generic"(%50, %4, %45, %32) <{indexing_maps = [#map10, #map, #map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 3, 1>}> ({
    ^bb0(%arg8: i1, %arg9: f32, %arg10: f32, %arg11: f32):
      %60 = "arith.select"(%arg8, %arg9, %arg10) : (i1, f32, f32) -> f32
      "linalg.yield"(%60) : (f32) -> ()
    }) : (tensor<1x2x4x1xi1>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %52 = "tensor.collapse_shape"(%51) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x4xf32>) -> tensor<2x4x4xf32>
    %53 = "tensor.collapse_shape"(%arg2) <{reassociation = [[0, 1], [2], [3]]}> : (tensor<1x2x4x8xf32>) -> tensor<2x4x8xf32>
    %54 = "tensor.empty"() : () -> tensor<2x4x8xf32>
    %55 = "linalg.fill"(%1, %54) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %56 = "linalg.batch_matmul"(%52, %53, %55) <{indexing_maps = [#map6, #map7, #map8], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg3: f32, %arg4: f32, %arg5: f32):
      %58 = "arith.mulf"(%arg3, %arg4) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %59 = "arith.addf"(%arg5, %58) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%59) : (f32) -> ()
    }) : (tensor<2x4x4xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %57 = "tensor.expand_shape"(%56) <{reassociation = [[0, 1], [2], [3]], static_output_shape = array<i64: 1, 2, 4, 8>}> : (tensor<2x4x8xf32>) -> tensor<1x2x4x8xf32>
    "func.return"(%57) : (tensor<1x2x4x8xf32>) -> ()
  }) : () -> ()
}) : () -> ()
// -----
// bn
#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d1, 0, 0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4x5x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4x5x5xf32>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<2x4x5x5xf32>, %arg1: tensor<4xf32>, %arg2: tensor<4xf32>, %arg3: tensor<4xf32>, %arg4: tensor<4xf32>):
    %0 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %1 = "arith.constant"() <{value = 1.000000e+00 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = 1.000000e-05 : f64}> : () -> f64
    %3 = "tensor.empty"() : () -> tensor<4xf32>
    %4 = "linalg.generic"(%arg4, %3) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg21: f32, %arg22: f32):
      %23 = "arith.truncf"(%2) : (f64) -> f32
      %24 = "arith.addf"(%arg21, %23) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%24) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %5 = "linalg.generic"(%4, %3) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg19: f32, %arg20: f32):
      %22 = "math.sqrt"(%arg19) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%22) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %6 = "linalg.generic"(%5, %3) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg17: f32, %arg18: f32):
      %20 = "arith.cmpf"(%arg17, %0) <{fastmath = #arith.fastmath<none>, predicate = 6 : i64}> : (f32, f32) -> i1
      "cf.assert"(%20) <{msg = "unimplemented: tensor with zero element"}> : (i1) -> ()
      %21 = "arith.divf"(%1, %arg17) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%21) : (f32) -> ()
    }) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %7 = "tensor.expand_shape"(%arg3) <{reassociation = [[0, 1, 2]], static_output_shape = array<i64: 4, 1, 1>}> : (tensor<4xf32>) -> tensor<4x1x1xf32>
    %8 = "tensor.expand_shape"(%6) <{reassociation = [[0, 1, 2]], static_output_shape = array<i64: 4, 1, 1>}> : (tensor<4xf32>) -> tensor<4x1x1xf32>
    %9 = "tensor.empty"() : () -> tensor<2x4x5x5xf32>
    %10 = "linalg.generic"(%arg0, %7, %9) <{indexing_maps = [#map1, #map2, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg14: f32, %arg15: f32, %arg16: f32):
      %19 = "arith.subf"(%arg14, %arg15) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%19) : (f32) -> ()
    }) : (tensor<2x4x5x5xf32>, tensor<4x1x1xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
    %11 = "linalg.generic"(%10, %8, %9) <{indexing_maps = [#map1, #map2, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg11: f32, %arg12: f32, %arg13: f32):
      %18 = "arith.mulf"(%arg11, %arg12) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%18) : (f32) -> ()
    }) : (tensor<2x4x5x5xf32>, tensor<4x1x1xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
    %12 = "tensor.expand_shape"(%arg1) <{reassociation = [[0, 1, 2]], static_output_shape = array<i64: 4, 1, 1>}> : (tensor<4xf32>) -> tensor<4x1x1xf32>
    %13 = "linalg.generic"(%11, %12, %9) <{indexing_maps = [#map1, #map2, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg8: f32, %arg9: f32, %arg10: f32):
      %17 = "arith.mulf"(%arg8, %arg9) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%17) : (f32) -> ()
    }) : (tensor<2x4x5x5xf32>, tensor<4x1x1xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
    %14 = "tensor.expand_shape"(%arg2) <{reassociation = [[0, 1, 2]], static_output_shape = array<i64: 4, 1, 1>}> : (tensor<4xf32>) -> tensor<4x1x1xf32>
    %15 = "linalg.generic"(%13, %14, %9) <{indexing_maps = [#map1, #map2, #map1], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg5: f32, %arg6: f32, %arg7: f32):
      %16 = "arith.addf"(%arg5, %arg6) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%16) : (f32) -> ()
    }) : (tensor<2x4x5x5xf32>, tensor<4x1x1xf32>, tensor<2x4x5x5xf32>) -> tensor<2x4x5x5xf32>
    "func.return"(%15) : (tensor<2x4x5x5xf32>) -> ()
  }) : () -> ()
}) : () -> ()
