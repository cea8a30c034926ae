#map = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map4 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
#map5 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map6 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>
#map7 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d3, d1 * 2 + d4, d2 * 2 + d5)>
#map8 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d3, d4, d5)>
#map9 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d3, d1, d2)>
#map10 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d5, d3 + d6, d4 + d7)>
#map11 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d1, d2, d5, d6, d7)>
#map12 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, d1, d2, d3, d4)>
#map13 = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>
#map14 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 + d4, d3 + d5)>
#map15 = affine_map<(d0, d1, d2) -> (d0, d2)>
#map16 = affine_map<(d0, d1, d2) -> (d2, d1)>
#map17 = affine_map<(d0, d1, d2) -> (d0, d1)>
#map18 = affine_map<(d0, d1) -> (d0, d1)>
#map19 = affine_map<(d0, d1) -> (d1)>
#map20 = affine_map<(d0, d1) -> (d0)>
#map21 = affine_map<(d0, d1) -> (d0, 0)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<1x3x16x16xf32>) -> tensor<1x10xf32>, sym_name = "cnn"}> ({
  ^bb0(%arg0: tensor<1x3x16x16xf32>):
    %0 = "arith.constant"() <{value = 0 : i64}> : () -> i64
    %1 = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %2 = "arith.constant"() <{value = 0xFF800000 : f32}> : () -> f32
    %3 = "arith.constant"() <{value = dense<"0x024988BE21317BBEAE55DFBD085816BEC6A5C63E863E9DBE21A581BEEB32A03EA51E0BBE60F0FF3D9DDBC53E9F78793ED0E5133E6E46E8BDF791C93E9692CF3D753C95BE9D51B2BDA30A34BF9D1E0EBF02268BBF70FDC8BE5665453FFD7FA4BEB9CCE83E6D8802BBA615CFBEC9CC453F1C1AAC3EA37581BFC6EB193F21DB1EBF2A5ED2BD1E7FC53E734631BEBE61253F3808E13E9A1069BF32A78BBE8DC3263EB6F8A9BE6DBAFFBD496BEC3E81483B3EAC1108BFF874CE3D2CFDB4BE829B33BF2E0627BF68A6293ED4F784BC4B864D3B5F6929BF137BD9BD8C4B19BF2DEC08BF823FC3BDA9774CBF6FD6C53E60C8B73F33A1873E90241ABFA25320BE75E565BFD43F5FBEB5F6953E5F39AE3E497E18BF5EDB303E46EB2A3FE6B3813F4528CFBEDD75FFBE21AF003D6863D8BFB5F99CBEC43320BE74C887BE5F196ABFE42B11BE6F91E5BE1EEADF3E8AC007BFA1EC26BE6AB809BEA8C6A73EFC24BCBF366149BE768BE03E1FD555BE10AF61BF4716413E320D473E46EA1FBE746B2BBF30F2DABEB57E39BEBC6701BF1DE78DBF5C67E3BE820312BD7EE395BE78B732BD2DD6453DEE83043F4CDDA23FF750D83EE68F4FBFB759C4BFFC625FBD3FD2283D10BA2BBFC4D3203EBCB5E2BEA00F6E3ED27240BE88FB6A3ED6D280BFBE9C81BEB0B3AFBD4F9952BF3B1B8B3FBCDA9FBEAD704D3FBA61C4BEE2F507BE91FB2E3FDD9F333E6F16E33D403A1D3EA0EB49BF7E4E66BE405D0DBFAF6CE93DC3CEA0BE6662D0BC95C836BDF204ACBC8357A4BC5BD8C0BE8BC81BBFCD62C4BE0A601E3FFB345D3E8781AD3E29F64B3F65522EBF5FBE963ED3E51EBFE0A845BE96248F3E599A6E3FE835E7BE3D2D60BDCBE42A3F35325CBF6515563E904136BEE55002BFD560AD3DB1DCAF3E53CF06BF0AA7603EB8FECC3DC68A37BFD698653FE516213F7D32FEBEF968ADBE60D8E33ED67492BEEDF487BFCA061B3FE221A63B4BEE8C3F4256533E03D5E13D906DD43FDF37CBBD12AE0CBFDD80073ED1DD273FEA342CBF3C3E06BFA3F4843E5849ECBFEE7F21BFD325EB3E3971ADBE9D6570BF0D4D8E3FBD7A50BF67B59ABE815C5CBE419F443D36745ABEE8773FBDF8F6073D88F94CBD93935C3DFACDAFBF5561823EBF944FBFEE1DA0BF602A4C3F55003EBFFCADD43D2B5FE4BE908EC8BE50F88E3EEDED1ABFD8535C3E6411613E7B1B2C3F81C546BEC5AF1A3F"> : tensor<8x3x3x3xf32>}> : () -> tensor<8x3x3x3xf32>
    %4 = "arith.constant"() <{value = dense<[0.60835743, 0.560976923, 0.207209498, 0.158804193, 1.00743449, 0.789193392, -0.271040142, 0.326545119]> : tensor<8xf32>}> : () -> tensor<8xf32>
    %5 = "arith.constant"() <{value = dense<[0.232897937, -0.198540628, 0.635824919, -0.391494095, -0.163597494, -0.340991527, -0.0363314301, 0.382622302]> : tensor<8xf32>}> : () -> tensor<8xf32>
    %6 = "arith.constant"() <{value = dense<[[-0.358965129, 0.395684361, -0.00727084092, -0.128490508, -0.037445236, 0.969405949, 0.365994215, -0.274230629], [5.892850e-01, -0.0313937515, 0.261529416, -0.20740518, -0.331582159, 0.28351894, -0.27184251, -0.276237667], [0.317432374, -0.410853446, -0.501781344, 0.192705825, -0.69292277, -0.265775144, -0.129275426, -0.475637853], [-0.395057201, 0.235421628, 0.103397772, -0.334359497, 0.187201411, 0.537146032, -0.453403175, 0.0216571931], [0.698851764, 0.216077656, 0.287575066, -0.0707646534, -0.282122791, 0.404242933, 0.231126666, -0.0182161964], [-0.164521024, -0.6179142, 0.0551211759, -0.244557396, -0.0466175228, 0.237225622, 0.289914727, 0.254205227], [0.797285616, 0.411931604, -0.263778478, -0.289313406, 0.823125601, -0.23452121, -1.560420e-02, 0.616900861], [0.606455743, -0.0193153396, 0.0855397954, -0.578098416, -0.321149766, -0.129138604, -0.00200117216, -0.114311047], [0.0538440533, 0.775237083, 0.164169282, 0.109144472, 6.45714346E-4, -0.0607785173, 0.435911745, -0.350463837], [-0.0443990678, -0.387415767, 0.030805001, 0.0420906469, 0.325448185, 0.423437327, 0.234428644, 0.573555291]]> : tensor<10x8xf32>}> : () -> tensor<10x8xf32>
    %7 = "arith.constant"() <{value = dense<[0.502328813, 0.0997251719, 0.118062645, -0.612306058, 0.101269796, -0.00161009072, -0.533949077, -0.136416242, 0.302764028, -0.391734838]> : tensor<10xf32>}> : () -> tensor<10xf32>
    %8 = "arith.constant"() <{value = dense<[[[0.347541332, 0.0417236388, 0.0885148942], [0.281622857, 0.541184187, 0.126306832], [0.196179986, 0.803752601, 0.183435872]], [[0.314668864, 0.571709633, 0.942964494], [0.708432436, 0.21778515, 0.11998231], [-0.70644784, 0.168622389, -0.598810256]], [[-0.591229439, 0.375571519, -0.0580682643], [0.272630274, -0.361977339, 0.693515479], [8.300690e-02, 0.685735285, 0.388811052]], [[0.095406577, -0.27627793, 0.0181909092], [0.47805208, 0.402792871, -0.690271139], [0.592177808, -0.123499811, 0.470692724]], [[-0.40269503, 0.368265927, -0.459912539], [7.468420e-02, -0.172067583, -0.164875403], [-0.327119291, -0.088668935, -1.00495589]], [[0.506105065, 5.552300e-01, -0.255635619], [-0.796601712, -0.37337777, 0.547105372], [0.361144572, -0.173409209, 0.518041849]], [[-0.601299167, -0.353705764, 0.274014622], [-0.0553755872, -0.340189606, -1.45037758], [0.387526929, 0.186900869, -1.00627673]], [[0.346598208, -8.292920e-03, 0.160985336], [0.545707524, -0.427173853, 0.411976486], [0.394823372, 0.439661324, 0.944519519]]]> : tensor<8x3x3xf32>}> : () -> tensor<8x3x3xf32>
    %9 = "arith.constant"() <{value = dense<[[[[[1.297786]], [[0.463517427]], [[-0.609391093]], [[-0.553620577]]], [[[-0.603196144]], [[0.952840685]], [[-0.90653932]], [[0.864526271]]], [[[-0.0325940698]], [[0.172051072]], [[1.51171839]], [[-0.475334018]]], [[[1.66172862]], [[-1.40945268]], [[-0.824763715]], [[-1.57839143]]]], [[[[-0.746781885]], [[0.582882106]], [[0.737729073]], [[0.306775302]]], [[[0.26709196]], [[-1.17332697]], [[-1.32683182]], [[0.30389002]]], [[[1.34780693]], [[-0.364134759]], [[-1.26855958]], [[-1.53328049]]], [[[-0.680651724]], [[1.57954383]], [[-0.207739532]], [[-1.03794336]]]]]> : tensor<2x4x4x1x1xf32>}> : () -> tensor<2x4x4x1x1xf32>
    %10 = "arith.constant"() <{value = dense<[[[[-0.205826044]], [[0.395805508]], [[0.0773336664]], [[0.484458715]], [[-0.332076073]], [[0.399777383]], [[0.321408451]], [[-1.05889344]]]]> : tensor<1x8x1x1xf32>}> : () -> tensor<1x8x1x1xf32>
    %11 = "arith.constant"() <{value = dense<[[[[0.531208396]], [[1.04525864]], [[0.775084853]], [[0.656030595]], [[0.582303822]], [[0.960697293]], [[0.572935402]], [[1.13398206]]]]> : tensor<1x8x1x1xf32>}> : () -> tensor<1x8x1x1xf32>
    %12 = "arith.constant"() <{value = 9.99999974E-6 : f32}> : () -> f32
    %13 = "arith.constant"() <{value = dense<[[[[-0.215480477]], [[-0.170958966]], [[0.093908526]], [[-0.233351052]], [[-0.314641148]], [[-0.0664740428]], [[0.165699989]], [[0.253513247]]]]> : tensor<1x8x1x1xf32>}> : () -> tensor<1x8x1x1xf32>
    %14 = "arith.constant"() <{value = dense<[[[[0.194642454]], [[-0.161749586]], [[-0.599300206]], [[-0.282318085]], [[0.100437939]], [[-0.471511275]], [[0.0893143862]], [[-2.085880e-01]]]]> : tensor<1x8x1x1xf32>}> : () -> tensor<1x8x1x1xf32>
    %15 = "arith.constant"() <{value = 4.000000e+00 : f32}> : () -> f32
    %16 = "arith.constant"() <{value = 9.000000e+00 : f32}> : () -> f32
    %17 = "tensor.pad"(%arg0) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg92: index, %arg93: index, %arg94: index, %arg95: index):
      "tensor.yield"(%1) : (f32) -> ()
    }) : (tensor<1x3x16x16xf32>) -> tensor<1x3x18x18xf32>
    %18 = "tensor.empty"() : () -> tensor<1x8x16x16xf32>
    %19 = "linalg.broadcast"(%4, %18) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg90: f32, %arg91: f32):
      "linalg.yield"(%arg90) : (f32) -> ()
    }) : (tensor<8xf32>, tensor<1x8x16x16xf32>) -> tensor<1x8x16x16xf32>
    %20 = "linalg.conv_2d_nchw_fchw"(%17, %3, %19) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg87: f32, %arg88: f32, %arg89: f32):
      %102 = "arith.mulf"(%arg87, %arg88) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %103 = "arith.addf"(%arg89, %102) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%103) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map, #map1, #map2]} : (tensor<1x3x18x18xf32>, tensor<8x3x3x3xf32>, tensor<1x8x16x16xf32>) -> tensor<1x8x16x16xf32>
    %21 = "linalg.generic"(%20, %18) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg85: f32, %arg86: f32):
      %100 = "arith.cmpf"(%arg85, %1) <{fastmath = #arith.fastmath<none>, predicate = 9 : i64}> : (f32, f32) -> i1
      %101 = "arith.select"(%100, %arg85, %1) : (i1, f32, f32) -> f32
      "linalg.yield"(%101) : (f32) -> ()
    }) : (tensor<1x8x16x16xf32>, tensor<1x8x16x16xf32>) -> tensor<1x8x16x16xf32>
    %22 = "tensor.pad"(%21) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg81: index, %arg82: index, %arg83: index, %arg84: index):
      "tensor.yield"(%2) : (f32) -> ()
    }) : (tensor<1x8x16x16xf32>) -> tensor<1x8x18x18xf32>
    %23 = "tensor.empty"() : () -> tensor<1x8x8x8xf32>
    %24 = "linalg.fill"(%2, %23) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg79: f32, %arg80: f32):
      "linalg.yield"(%arg79) : (f32) -> ()
    }) : (f32, tensor<1x8x8x8xf32>) -> tensor<1x8x8x8xf32>
    %25 = "tensor.empty"() : () -> tensor<3x3xf32>
    %26 = "linalg.pooling_nchw_max"(%22, %25, %24) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg76: f32, %arg77: f32, %arg78: f32):
      %99 = "arith.maximumf"(%arg78, %arg76) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%99) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map4, #map5, #map6]} : (tensor<1x8x18x18xf32>, tensor<3x3xf32>, tensor<1x8x8x8xf32>) -> tensor<1x8x8x8xf32>
    %27 = "tensor.pad"(%26) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
    ^bb0(%arg72: index, %arg73: index, %arg74: index, %arg75: index):
      "tensor.yield"(%1) : (f32) -> ()
    }) : (tensor<1x8x8x8xf32>) -> tensor<1x8x10x10xf32>
    %28 = "tensor.empty"() : () -> tensor<1x8x4x4xf32>
    %29 = "linalg.broadcast"(%5, %28) <{dimensions = array<i64: 0, 2, 3>}> ({
    ^bb0(%arg70: f32, %arg71: f32):
      "linalg.yield"(%arg70) : (f32) -> ()
    }) : (tensor<8xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %30 = "linalg.depthwise_conv_2d_nchw_chw"(%27, %8, %29) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
    ^bb0(%arg67: f32, %arg68: f32, %arg69: f32):
      %97 = "arith.mulf"(%arg67, %arg68) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %98 = "arith.addf"(%arg69, %97) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%98) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map7, #map8, #map9]} : (tensor<1x8x10x10xf32>, tensor<8x3x3xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %31 = "linalg.generic"(%30, %28) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg65: f32, %arg66: f32):
      %95 = "arith.cmpf"(%arg65, %1) <{fastmath = #arith.fastmath<none>, predicate = 9 : i64}> : (f32, f32) -> i1
      %96 = "arith.select"(%95, %arg65, %1) : (i1, f32, f32) -> f32
      "linalg.yield"(%96) : (f32) -> ()
    }) : (tensor<1x8x4x4xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %32 = "tensor.expand_shape"(%31) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 1, 2, 4, 4, 4>}> : (tensor<1x8x4x4xf32>) -> tensor<1x2x4x4x4xf32>
    %33 = "tensor.expand_shape"(%28) <{reassociation = [[0], [1, 2], [3], [4]], static_output_shape = array<i64: 1, 2, 4, 4, 4>}> : (tensor<1x8x4x4xf32>) -> tensor<1x2x4x4x4xf32>
    %34 = "linalg.fill"(%1, %33) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg63: f32, %arg64: f32):
      "linalg.yield"(%arg63) : (f32) -> ()
    }) : (f32, tensor<1x2x4x4x4xf32>) -> tensor<1x2x4x4x4xf32>
    %35 = "linalg.conv_2d_ngchw_gfchw"(%32, %9, %34) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg60: f32, %arg61: f32, %arg62: f32):
      %93 = "arith.mulf"(%arg60, %arg61) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %94 = "arith.addf"(%arg62, %93) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%94) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map10, #map11, #map12]} : (tensor<1x2x4x4x4xf32>, tensor<2x4x4x1x1xf32>, tensor<1x2x4x4x4xf32>) -> tensor<1x2x4x4x4xf32>
    %36 = "tensor.collapse_shape"(%35) <{reassociation = [[0], [1, 2], [3], [4]]}> : (tensor<1x2x4x4x4xf32>) -> tensor<1x8x4x4xf32>
    %37 = "tensor.empty"() : () -> tensor<1x8x1x1xf32>
    %38 = "linalg.generic"(%11, %37) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg58: f32, %arg59: f32):
      %92 = "arith.addf"(%arg58, %12) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%92) : (f32) -> ()
    }) : (tensor<1x8x1x1xf32>, tensor<1x8x1x1xf32>) -> tensor<1x8x1x1xf32>
    %39 = "linalg.generic"(%38, %37) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg56: f32, %arg57: f32):
      %91 = "math.rsqrt"(%arg56) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%91) : (f32) -> ()
    }) : (tensor<1x8x1x1xf32>, tensor<1x8x1x1xf32>) -> tensor<1x8x1x1xf32>
    %40 = "linalg.generic"(%36, %10, %28) <{indexing_maps = [#map3, #map13, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg53: f32, %arg54: f32, %arg55: f32):
      %90 = "arith.subf"(%arg53, %arg54) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%90) : (f32) -> ()
    }) : (tensor<1x8x4x4xf32>, tensor<1x8x1x1xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %41 = "linalg.generic"(%40, %39, %28) <{indexing_maps = [#map3, #map13, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg50: f32, %arg51: f32, %arg52: f32):
      %89 = "arith.mulf"(%arg50, %arg51) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%89) : (f32) -> ()
    }) : (tensor<1x8x4x4xf32>, tensor<1x8x1x1xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %42 = "linalg.generic"(%41, %13, %28) <{indexing_maps = [#map3, #map13, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg47: f32, %arg48: f32, %arg49: f32):
      %88 = "arith.mulf"(%arg47, %arg48) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%88) : (f32) -> ()
    }) : (tensor<1x8x4x4xf32>, tensor<1x8x1x1xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %43 = "linalg.generic"(%42, %14, %28) <{indexing_maps = [#map3, #map13, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg44: f32, %arg45: f32, %arg46: f32):
      %87 = "arith.addf"(%arg44, %arg45) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%87) : (f32) -> ()
    }) : (tensor<1x8x4x4xf32>, tensor<1x8x1x1xf32>, tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    %44 = "tensor.empty"() : () -> tensor<1x8x3x3xf32>
    %45 = "linalg.fill"(%1, %44) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg42: f32, %arg43: f32):
      "linalg.yield"(%arg42) : (f32) -> ()
    }) : (f32, tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32>
    %46 = "tensor.empty"() : () -> tensor<2x2xf32>
    %47 = "linalg.pooling_nchw_sum"(%43, %46, %45) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg39: f32, %arg40: f32, %arg41: f32):
      %86 = "arith.addf"(%arg41, %arg39) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%86) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map14, #map5, #map6]} : (tensor<1x8x4x4xf32>, tensor<2x2xf32>, tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32>
    %48 = "linalg.generic"(%47, %44) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg37: f32, %arg38: f32):
      %85 = "arith.divf"(%arg37, %15) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%85) : (f32) -> ()
    }) : (tensor<1x8x3x3xf32>, tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32>
    %49 = "linalg.fill"(%1, %37) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg35: f32, %arg36: f32):
      "linalg.yield"(%arg35) : (f32) -> ()
    }) : (f32, tensor<1x8x1x1xf32>) -> tensor<1x8x1x1xf32>
    %50 = "linalg.pooling_nchw_sum"(%48, %25, %49) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<1> : vector<2xi64>}> ({
    ^bb0(%arg32: f32, %arg33: f32, %arg34: f32):
      %84 = "arith.addf"(%arg34, %arg32) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%84) : (f32) -> ()
    }) {linalg.memoized_indexing_maps = [#map14, #map5, #map6]} : (tensor<1x8x3x3xf32>, tensor<3x3xf32>, tensor<1x8x1x1xf32>) -> tensor<1x8x1x1xf32>
    %51 = "linalg.generic"(%50, %37) <{indexing_maps = [#map3, #map3], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg30: f32, %arg31: f32):
      %83 = "arith.divf"(%arg30, %16) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%83) : (f32) -> ()
    }) : (tensor<1x8x1x1xf32>, tensor<1x8x1x1xf32>) -> tensor<1x8x1x1xf32>
    %52 = "tensor.collapse_shape"(%51) <{reassociation = [[0], [1, 2, 3]]}> : (tensor<1x8x1x1xf32>) -> tensor<1x8xf32>
    %53 = "tensor.empty"() : () -> tensor<8x10xf32>
    %54 = "linalg.transpose"(%6, %53) <{permutation = array<i64: 1, 0>}> ({
    ^bb0(%arg28: f32, %arg29: f32):
      "linalg.yield"(%arg28) : (f32) -> ()
    }) : (tensor<10x8xf32>, tensor<8x10xf32>) -> tensor<8x10xf32>
    %55 = "tensor.empty"() : () -> tensor<1x10xf32>
    %56 = "linalg.fill"(%1, %55) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg26: f32, %arg27: f32):
      "linalg.yield"(%arg26) : (f32) -> ()
    }) : (f32, tensor<1x10xf32>) -> tensor<1x10xf32>
    %57 = "linalg.matmul"(%52, %54, %56) <{indexing_maps = [#map15, #map16, #map17], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg23: f32, %arg24: f32, %arg25: f32):
      %81 = "arith.mulf"(%arg23, %arg24) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %82 = "arith.addf"(%arg25, %81) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%82) : (f32) -> ()
    }) : (tensor<1x8xf32>, tensor<8x10xf32>, tensor<1x10xf32>) -> tensor<1x10xf32>
    %58 = "linalg.generic"(%57, %7, %55) <{indexing_maps = [#map18, #map19, #map18], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg20: f32, %arg21: f32, %arg22: f32):
      %80 = "arith.addf"(%arg20, %arg21) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%80) : (f32) -> ()
    }) : (tensor<1x10xf32>, tensor<10xf32>, tensor<1x10xf32>) -> tensor<1x10xf32>
    %59 = "tensor.empty"() : () -> tensor<1xi64>
    %60 = "linalg.fill"(%0, %59) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg18: i64, %arg19: i64):
      "linalg.yield"(%arg18) : (i64) -> ()
    }) : (i64, tensor<1xi64>) -> tensor<1xi64>
    %61 = "tensor.empty"() : () -> tensor<1xf32>
    %62 = "linalg.fill"(%2, %61) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg16: f32, %arg17: f32):
      "linalg.yield"(%arg16) : (f32) -> ()
    }) : (f32, tensor<1xf32>) -> tensor<1xf32>
    %63:2 = "linalg.generic"(%58, %62, %60) <{indexing_maps = [#map18, #map20, #map20], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
    ^bb0(%arg13: f32, %arg14: f32, %arg15: i64):
      %75 = "linalg.index"() <{dim = 1 : i64}> : () -> index
      %76 = "arith.index_cast"(%75) : (index) -> i64
      %77 = "arith.maximumf"(%arg13, %arg14) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      %78 = "arith.cmpf"(%arg13, %arg14) <{fastmath = #arith.fastmath<none>, predicate = 2 : i64}> : (f32, f32) -> i1
      %79 = "arith.select"(%78, %76, %arg15) : (i1, i64, i64) -> i64
      "linalg.yield"(%77, %79) : (f32, i64) -> ()
    }) : (tensor<1x10xf32>, tensor<1xf32>, tensor<1xi64>) -> (tensor<1xf32>, tensor<1xi64>)
    %64 = "tensor.expand_shape"(%63#0) <{reassociation = [[0, 1]], static_output_shape = array<i64: 1, 1>}> : (tensor<1xf32>) -> tensor<1x1xf32>
    %65 = "linalg.generic"(%58, %64, %55) <{indexing_maps = [#map18, #map21, #map18], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg10: f32, %arg11: f32, %arg12: f32):
      %74 = "arith.subf"(%arg10, %arg11) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%74) : (f32) -> ()
    }) : (tensor<1x10xf32>, tensor<1x1xf32>, tensor<1x10xf32>) -> tensor<1x10xf32>
    %66 = "linalg.generic"(%65, %55) <{indexing_maps = [#map18, #map18], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg8: f32, %arg9: f32):
      %73 = "math.exp"(%arg8) <{fastmath = #arith.fastmath<none>}> : (f32) -> f32
      "linalg.yield"(%73) : (f32) -> ()
    }) : (tensor<1x10xf32>, tensor<1x10xf32>) -> tensor<1x10xf32>
    %67 = "tensor.empty"() : () -> tensor<1x1xf32>
    %68 = "linalg.fill"(%1, %67) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg6: f32, %arg7: f32):
      "linalg.yield"(%arg6) : (f32) -> ()
    }) : (f32, tensor<1x1xf32>) -> tensor<1x1xf32>
    %69 = "linalg.generic"(%66, %68) <{indexing_maps = [#map18, #map21], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%arg4: f32, %arg5: f32):
      %72 = "arith.addf"(%arg4, %arg5) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%72) : (f32) -> ()
    }) : (tensor<1x10xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
    %70 = "linalg.generic"(%66, %69, %55) <{indexing_maps = [#map18, #map21, #map18], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%arg1: f32, %arg2: f32, %arg3: f32):
      %71 = "arith.divf"(%arg1, %arg2) <{fastmath = #arith.fastmath<none>}> : (f32, f32) -> f32
      "linalg.yield"(%71) : (f32) -> ()
    }) : (tensor<1x10xf32>, tensor<1x1xf32>, tensor<1x10xf32>) -> tensor<1x10xf32>
    "func.return"(%70) : (tensor<1x10xf32>) -> ()
  }) : () -> ()
}) : () -> ()

